package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Client is the calling side of one connection. It is safe for concurrent use.
type Client struct {
	Hello Hello

	conn   io.ReadWriteCloser
	out    writer
	done   chan struct{} // closed when the connection is over
	reader sync.WaitGroup

	mu      sync.Mutex
	calls   map[uint32]*pending
	next    uint32
	failure error // why the connection is over
}

type pending struct {
	stream *stream
	result chan outcome // one
}

// outcome is how a call ended: by a reply, or by err before there was one.
type outcome struct {
	reply reply
	err   error
}

// NewClient reads the server's Hello from conn, which it owns from then on. It
// fails when the server speaks another version.
func NewClient(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) {
	c := &Client{conn: conn, out: writer{w: conn}, done: make(chan struct{}), calls: map[uint32]*pending{}}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	in := bufio.NewReaderSize(conn, chunk)
	f, err := ReadFrame(in)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil && (f.Kind != KindHello || f.Stream != 0) {
		err = fmt.Errorf("the agent began with a frame of kind %d", f.Kind)
	}
	if err == nil {
		err = json.Unmarshal(f.Payload, &c.Hello)
	}
	if err == nil && c.Hello.Version != Version {
		err = &VersionError{Theirs: c.Hello.Version}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.reader.Go(func() { c.read(in) })
	return c, nil
}

// VersionError is an agent that speaks another version of the protocol.
type VersionError struct{ Theirs int }

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the agent speaks version %d of the protocol, this berth version %d", e.Theirs, Version)
}

// ErrConnection is in every error that comes of the connection being over, and
// of nothing the server said. The request may or may not have been carried out.
var ErrConnection = errors.New("the connection to the agent is over")

func (c *Client) read(in *bufio.Reader) {
	for {
		f, err := ReadFrame(in)
		if err == nil {
			err = c.receive(f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Client) receive(f Frame) error {
	c.mu.Lock()
	p := c.calls[f.Stream]
	if p != nil && f.Kind == KindResult {
		delete(c.calls, f.Stream)
	}
	c.mu.Unlock()
	switch f.Kind {
	case KindData, KindEnd, KindCredit:
		if p == nil { // cancelled by us
			return nil
		}
		return p.stream.receive(f)
	case KindResult:
		if p == nil {
			return nil
		}
		var r reply
		if err := json.Unmarshal(f.Payload, &r); err != nil {
			return fmt.Errorf("a result that is not JSON: %w", err)
		}
		p.stream.end(io.EOF, false)
		p.result <- outcome{reply: r}
		return nil
	}
	return fmt.Errorf("a frame of kind %d from the agent", f.Kind)
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.failure != nil {
		c.mu.Unlock()
		return
	}
	if errors.Is(err, io.EOF) {
		c.failure = ErrConnection
	} else {
		c.failure = fmt.Errorf("%w: %w", ErrConnection, err)
	}
	err = c.failure
	calls := c.calls
	c.calls = map[uint32]*pending{}
	close(c.done)
	c.mu.Unlock()
	for _, p := range calls {
		p.stream.end(err, true)
		p.result <- outcome{err: err}
	}
	_ = c.conn.Close()
}

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection; calls that are under way fail.
func (c *Client) Close() error {
	c.fail(io.EOF)
	c.reader.Wait()
	return nil
}

// Call has the server carry out op: args go there as JSON, then what body has
// to give (nil: nothing), what the operation writes comes to output (nil: dropped), and its
// value is decoded into value (nil: dropped). When ctx ends the server is told to stop.
// Call does not return while body is being read, so body must end soon after ctx.
func (c *Client) Call(ctx context.Context, op string, args any, body io.Reader, output io.Writer, value any) error {
	p, err := c.open(op, args)
	if err != nil {
		return err
	}
	id := p.stream.id
	stop := context.AfterFunc(ctx, func() { c.cancel(id, context.Cause(ctx)) })
	defer stop()
	var copying sync.WaitGroup
	copying.Go(func() { c.sendBody(ctx, p.stream, body) })
	if output == nil {
		output = io.Discard
	}
	copying.Go(func() {
		if _, err := io.Copy(output, p.stream); err != nil {
			c.cancel(id, reason(ctx, err))
		}
	})
	o := <-p.result
	copying.Wait()
	switch {
	case o.err != nil:
		return o.err
	case o.reply.Error != nil:
		return o.reply.Error
	case value == nil:
		return nil
	}
	return json.Unmarshal(o.reply.Value, value)
}

// sendBody sends the request's data. A body that cannot be read to its end must
// not look like a shorter one, so the request is cancelled then.
func (c *Client) sendBody(ctx context.Context, s *stream, body io.Reader) {
	if body != nil {
		source := &sourceErr{r: body}
		_, err := io.Copy(s, source)
		if source.err != nil {
			c.cancel(s.id, reason(ctx, source.err))
			return
		}
		if err != nil { // the server has ended, its result tells why
			return
		}
	}
	// When the end cannot be sent the connection is over, and every call with it.
	_ = s.closeWrite()
}

// reason returns why a call ends: a caller that cancels often closes the body
// or the output too, and the cancellation is the cause of both.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// sourceErr remembers the error of reading, apart from one of writing.
type sourceErr struct {
	r   io.Reader
	err error
}

func (s *sourceErr) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (c *Client) open(op string, args any) (*pending, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(call{Op: op, Args: raw})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.failure != nil {
		defer c.mu.Unlock()
		return nil, c.failure
	}
	c.next++
	p := &pending{stream: newStream(c.next, c.sendFrame), result: make(chan outcome, 1)}
	c.calls[p.stream.id] = p
	c.mu.Unlock()
	if err := c.sendFrame(Frame{Kind: KindRequest, Stream: p.stream.id, Payload: payload}); err != nil {
		c.mu.Lock()
		delete(c.calls, p.stream.id)
		c.mu.Unlock()
		return nil, err
	}
	return p, nil
}

// sendFrame sends f; a connection that cannot be written to is over.
func (c *Client) sendFrame(f Frame) error {
	if err := c.out.send(f); err != nil {
		if len(f.Payload) <= MaxPayload {
			c.fail(err)
		}
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	return nil
}

func (c *Client) cancel(id uint32, why error) {
	c.mu.Lock()
	p := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	if p == nil {
		return
	}
	p.stream.end(why, true)
	p.result <- outcome{err: why}
	// When this cannot be sent the connection is over, which cancels as well.
	_ = c.sendFrame(Frame{Kind: KindCancel, Stream: id})
}
