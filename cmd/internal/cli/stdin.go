package cli

import (
	"context"
	"io"
)

// An interruptible reader fails when ctx ends. What waits for a terminal or a pipe
// goes on waiting behind it, until the process ends.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	type read struct {
		n   int
		err error
	}
	buf := make([]byte, len(p)) // p is the caller's again when ctx has ended
	done := make(chan read, 1)
	go func() {
		n, err := i.r.Read(buf)
		done <- read{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}
