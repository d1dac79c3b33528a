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

// Request is one call as the server sees it. Its Read gives what the client
// sends, its Write goes to the client.
type Request struct {
	Op   string
	args json.RawMessage
	*stream
}

// Args decodes the arguments.
func (r *Request) Args(into any) error {
	if err := json.Unmarshal(r.args, into); err != nil {
		return fmt.Errorf("arguments of %s: %w", r.Op, err)
	}
	return nil
}

// Handler carries out one request and returns its value. ctx ends when the
// client cancels or is gone.
type Handler func(ctx context.Context, r *Request) (any, error)

// server is the answering side of one connection.
type server struct {
	handle Handler
	out    writer
	work   sync.WaitGroup

	mu     sync.Mutex
	active map[uint32]*running
}

type running struct {
	stream *stream
	cancel context.CancelCauseFunc
}

// errCancelled is why a handler's context ends when its caller lost interest.
var errCancelled = &Error{Code: CodeCanceled, Message: "cancelled by the caller"}

// Serve says hello and answers the requests that arrive on r until it ends or
// breaks the protocol. It returns when all handlers have ended.
func Serve(ctx context.Context, r io.Reader, w io.Writer, hello Hello, handle Handler) error {
	hello.Version = Version
	payload, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	s := &server{handle: handle, out: writer{w: w}, active: map[uint32]*running{}}
	if err := s.out.send(Frame{Kind: KindHello, Payload: payload}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.work.Wait()
	defer cancel()
	defer s.endAll()
	in := bufio.NewReaderSize(r, chunk)
	for {
		f, err := ReadFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.receive(ctx, f)
		}
		if err != nil {
			return err
		}
	}
}

func (s *server) receive(ctx context.Context, f Frame) error {
	if f.Kind == KindRequest {
		return s.start(ctx, f)
	}
	s.mu.Lock()
	r := s.active[f.Stream]
	s.mu.Unlock()
	switch f.Kind {
	case KindData, KindEnd, KindCredit:
		if r == nil { // answered already
			return nil
		}
		return r.stream.receive(f)
	case KindCancel:
		if r != nil {
			r.cancel(errCancelled)
			r.stream.end(errCancelled, true)
		}
		return nil
	}
	return fmt.Errorf("a frame of kind %d from a client", f.Kind)
}

func (s *server) start(ctx context.Context, f Frame) error {
	var c call
	if err := json.Unmarshal(f.Payload, &c); err != nil {
		return fmt.Errorf("a request that is not JSON: %w", err)
	}
	s.mu.Lock()
	if s.active[f.Stream] != nil {
		s.mu.Unlock()
		return fmt.Errorf("stream %d was opened twice", f.Stream)
	}
	if len(s.active) >= MaxStreams {
		s.mu.Unlock()
		return s.answer(f.Stream, nil, &Error{Code: CodeOverloaded, Message: fmt.Sprintf("more than %d requests at a time", MaxStreams)})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &running{stream: newStream(f.Stream, s.out.send), cancel: cancel}
	s.active[f.Stream] = r
	s.mu.Unlock()
	s.work.Go(func() {
		defer cancel(nil)
		value, err := s.handle(ctx, &Request{Op: c.Op, args: c.Args, stream: r.stream})
		s.mu.Lock()
		delete(s.active, f.Stream)
		s.mu.Unlock()
		r.stream.end(io.ErrClosedPipe, true)
		// When the answer cannot be sent the client is gone, which the reader sees.
		_ = s.answer(f.Stream, value, err)
	})
	return nil
}

func (s *server) answer(id uint32, value any, err error) error {
	r := reply{Error: toError(err)}
	if err == nil {
		if r.Value, err = json.Marshal(value); err != nil {
			r.Error = toError(err)
		}
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(payload) > MaxPayload {
		return s.answer(id, nil, fmt.Errorf("an answer of %d bytes is too long; it should have been streamed", len(payload)))
	}
	return s.out.send(Frame{Kind: KindResult, Stream: id, Payload: payload})
}

func (s *server) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.active {
		r.cancel(errCancelled)
		r.stream.end(errCancelled, true)
	}
}
