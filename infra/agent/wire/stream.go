package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// stream is one request on one side: the bytes that came in and are not read
// yet, and how many may be sent.
type stream struct {
	id   uint32
	send func(Frame) error

	mu       sync.Mutex
	changed  *sync.Cond
	in       []byte
	inErr    error // io.EOF after the other side's End, or why the stream is over
	unread   int   // bytes that came in and for which no credit was given back
	consumed int   // of those, read by now
	credit   int   // bytes that may be sent
	outErr   error // why nothing may be sent any more
}

func newStream(id uint32, send func(Frame) error) *stream {
	s := &stream{id: id, send: send, credit: Window}
	s.changed = sync.NewCond(&s.mu)
	return s
}

var (
	errTooMuch = errors.New("more data than was asked for")
	errAfter   = errors.New("data after its end")
)

// receive takes a Data, End or Credit frame from the connection's reader. It
// never blocks; an error is a breach of the protocol.
func (s *stream) receive(f Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	switch f.Kind {
	case KindCredit:
		n := int64(binary.BigEndian.Uint32(f.Payload))
		if int64(s.credit)+n > Window {
			return errTooMuch
		}
		s.credit += int(n)
	case KindEnd:
		if s.inErr == nil {
			s.inErr = io.EOF
		}
	case KindData:
		if errors.Is(s.inErr, io.EOF) {
			return errAfter
		}
		if s.inErr != nil { // over on our side, the other does not know yet
			return nil
		}
		s.unread += len(f.Payload)
		if s.unread > Window {
			return errTooMuch
		}
		s.in = append(s.in, f.Payload...)
	}
	return nil
}

// Read reads what the other side sent, io.EOF after its end.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	for len(s.in) == 0 && s.inErr == nil {
		s.changed.Wait()
	}
	if len(s.in) == 0 {
		defer s.mu.Unlock()
		return 0, s.inErr
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	if len(s.in) == 0 {
		s.in = nil
	}
	s.consumed += n
	give := 0
	if s.consumed >= Window/4 && s.inErr == nil {
		give = s.consumed
		s.consumed, s.unread = 0, s.unread-give
	}
	s.mu.Unlock()
	if give > 0 {
		if err := s.send(Frame{Kind: KindCredit, Stream: s.id, Payload: credit(give)}); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Write sends p, as fast as the other side reads.
func (s *stream) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := s.reserve(min(len(p)-sent, chunk))
		if err != nil {
			return sent, err
		}
		if err := s.send(Frame{Kind: KindData, Stream: s.id, Payload: p[sent : sent+n]}); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

func (s *stream) reserve(most int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && s.outErr == nil {
		s.changed.Wait()
	}
	if s.outErr != nil {
		return 0, s.outErr
	}
	n := min(s.credit, most)
	s.credit -= n
	return n, nil
}

// closeWrite says that no more data comes from this side.
func (s *stream) closeWrite() error {
	s.mu.Lock()
	over := s.outErr != nil
	if !over {
		s.outErr = io.ErrClosedPipe
	}
	s.mu.Unlock()
	if over {
		return nil
	}
	return s.send(Frame{Kind: KindEnd, Stream: s.id})
}

// end releases whoever reads or writes. What came in can still be read unless
// drop is set.
func (s *stream) end(err error, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if drop {
		s.in = nil
	}
	if s.inErr == nil || drop {
		s.inErr = err
	}
	if s.outErr == nil || drop {
		s.outErr = err
	}
	s.changed.Broadcast()
}
