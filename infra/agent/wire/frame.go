package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Version of the protocol. Sides of different versions do not talk.
const Version = 1

// Bounds of what the other side may send.
const (
	MaxPayload = 256 << 10 // bytes of one frame's payload
	Window     = 1 << 20   // bytes of a stream's data that may be on the way unread
	MaxStreams = 256       // requests at a time
	chunk      = 64 << 10  // bytes of data sent in one frame
)

// Kind says what a frame is.
type Kind byte

// The kinds of frames. Client and server send Data, End and Credit, the
// client alone Request and Cancel, the server alone Hello and Result.
const (
	KindHello   Kind = iota + 1 // a Hello in JSON: the first frame, on stream 0
	KindRequest                 // a call in JSON; opens the stream
	KindData                    // bytes
	KindEnd                     // no more data from this side
	KindCredit                  // 4 bytes: so many more data bytes may come
	KindCancel                  // the answer is not wanted any more
	KindResult                  // a reply in JSON; ends the stream
	kindLast    = KindResult
)

// Frame is one message.
type Frame struct {
	Kind    Kind
	Stream  uint32
	Payload []byte
}

const headerSize = 4 + 1 + 4 // length of what follows, kind, stream

// ReadFrame reads one frame. io.EOF means that the other side ended between two
// frames; anything else that is not a frame is an error.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < headerSize-4 || size > headerSize-4+MaxPayload {
		return Frame{}, fmt.Errorf("a frame of %d bytes", size)
	}
	f := Frame{Kind: Kind(head[4]), Stream: binary.BigEndian.Uint32(head[5:])}
	if f.Kind < KindHello || f.Kind > kindLast {
		return Frame{}, fmt.Errorf("a frame of kind %d", f.Kind)
	}
	if f.Kind == KindCredit && size != headerSize {
		return Frame{}, fmt.Errorf("a credit of %d bytes", size-(headerSize-4))
	}
	f.Payload = make([]byte, size-(headerSize-4))
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// AppendFrame adds the encoded frame to buf.
func AppendFrame(buf []byte, f Frame) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(headerSize-4+len(f.Payload)))
	buf = append(buf, byte(f.Kind))
	buf = binary.BigEndian.AppendUint32(buf, f.Stream)
	return append(buf, f.Payload...)
}

// writer sends frames, each with one Write, one at a time.
type writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

func (w *writer) send(f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("a message of %d bytes is more than the agent's protocol carries (%d)", len(f.Payload), MaxPayload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = AppendFrame(w.buf[:0], f)
	_, err := w.w.Write(w.buf)
	return err
}

func credit(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
