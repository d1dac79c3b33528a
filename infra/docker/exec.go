package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// A Process is a command that runs in a container. Its owner calls Wait.
type Process struct {
	api    execAPI
	id     string
	conn   types.HijackedResponse
	done   chan struct{} // closed when the output has ended
	outErr error         // why it ended, valid after done
	stop   func() bool
	Stdin  io.WriteCloser // nil unless Stream.Stdin was asked for; Close is end of file for the command
}

// execAPI is what a Process asks the engine when the command has ended.
type execAPI interface {
	ContainerExecInspect(ctx context.Context, id string) (container.ExecInspect, error)
	ContainerExecResize(ctx context.Context, id string, size container.ResizeOptions) error
}

// Streams say where the output of a command goes. Nil writers drop it.
type Streams struct {
	Stdin  bool // give the Process a Stdin
	TTY    bool // give the command a terminal; what it writes to stderr arrives on Stdout
	Stdout io.Writer
	Stderr io.Writer
}

// Start runs a command in a running container and returns at once. When ctx
// ends the streams are cut; a command that reads its input then ends too.
func (c *Client) Start(ctx context.Context, id string, command []string, s Streams) (*Process, error) {
	made, err := c.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: command, AttachStdin: s.Stdin, AttachStdout: true, AttachStderr: true, Tty: s.TTY,
	})
	if err != nil {
		return nil, err
	}
	conn, err := c.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: s.TTY})
	if err != nil {
		return nil, err
	}
	p := &Process{api: c.api, id: made.ID, conn: conn, done: make(chan struct{})}
	p.stop = context.AfterFunc(ctx, conn.Close)
	if s.Stdin {
		p.Stdin = stdin{conn}
	}
	go func() {
		defer close(p.done)
		if s.TTY {
			_, p.outErr = io.Copy(orDiscard(s.Stdout), conn.Reader)
			return
		}
		_, p.outErr = stdcopy.StdCopy(orDiscard(s.Stdout), orDiscard(s.Stderr), conn.Reader)
	}()
	return p, nil
}

// Resize tells a command with a terminal its size in characters.
func (p *Process) Resize(ctx context.Context, width, height uint16) error {
	return p.api.ContainerExecResize(ctx, p.id, container.ResizeOptions{Width: uint(width), Height: uint(height)})
}

// Wait returns the command's exit status once its output has ended. A cut
// stream is an error.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.conn.Close()
		<-p.done
	}
	p.stop()
	p.conn.Close()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if p.outErr != nil {
		return 0, p.outErr
	}
	state, err := p.api.ContainerExecInspect(ctx, p.id)
	if err != nil {
		return 0, err
	}
	if state.Running {
		return 0, errors.New("the command's output ended before the command did")
	}
	return state.ExitCode, nil
}

// Exec runs a command in a running container to its end, feeds it in (nil for
// no input) and returns its exit status.
func (c *Client) Exec(ctx context.Context, id string, command []string, in io.Reader, out, errOut io.Writer) (int, error) {
	p, err := c.Start(ctx, id, command, Streams{Stdin: in != nil, Stdout: out, Stderr: errOut})
	if err != nil {
		return 0, err
	}
	if in == nil {
		return p.Wait(ctx)
	}
	source := &erringReader{r: in}
	go func() {
		// A command may end without reading all of its input: that the rest
		// cannot be sent is no error.
		_, _ = io.Copy(p.Stdin, source)
		_ = p.Stdin.Close()
	}()
	status, err := p.Wait(ctx)
	if readErr := source.err.Load(); err == nil && readErr != nil {
		return status, fmt.Errorf("read the input of %q: %w", command[0], *readErr)
	}
	return status, err
}

// An erringReader keeps the error that ended a read other than end of file,
// before anybody can see the end.
type erringReader struct {
	r   io.Reader
	err atomic.Pointer[error]
}

func (e *erringReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err.Store(&err)
	}
	return n, err
}

type stdin struct{ conn types.HijackedResponse }

func (s stdin) Write(p []byte) (int, error) { return s.conn.Conn.Write(p) }
func (s stdin) Close() error                { return s.conn.CloseWrite() }

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
