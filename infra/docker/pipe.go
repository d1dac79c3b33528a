package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Pipe is a command that runs in a container, its standard output and input as
// one connection. Reading ends with io.EOF when the command has ended well, else
// with its status and the last lines of its standard error.
type Pipe struct {
	stdin  io.WriteCloser
	stdout *io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Pipe starts a command. It lives until Close; ctx is for the start alone.
func (c *Client) Pipe(ctx context.Context, id string, command []string) (*Pipe, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	out, in := io.Pipe()
	var stderr tailBuffer
	p, err := c.Start(life, id, command, Streams{Stdin: true, Stdout: in, Stderr: &stderr})
	if !stop() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		cancel()
		_ = out.Close()
		return nil, err
	}
	s := &Pipe{stdin: p.Stdin, stdout: out, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		status, err := p.Wait(life)
		switch {
		case err == nil && status == 0:
			err = io.EOF
		case err == nil:
			err = fmt.Errorf("%s: exit status %d: %s", strings.Join(command, " "), status, strings.TrimSpace(stderr.String()))
		}
		in.CloseWithError(err)
	}()
	return s, nil
}

func (p *Pipe) Read(b []byte) (int, error)  { return p.stdout.Read(b) }
func (p *Pipe) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// Ended reports whether nothing runs at the other end any more: the command has
// ended, with its container maybe, or Close was called.
func (p *Pipe) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Close cuts the streams: a command that reads its input ends.
func (p *Pipe) Close() error {
	p.cancel()
	err := p.stdout.Close()
	<-p.done
	return err
}
