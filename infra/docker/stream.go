package docker

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// A Stream is a command that runs in a container with its standard input and
// output in the caller's hands. It is over when Read returns an error: io.EOF after
// exit status 0, else an ExitError or why the connection broke.
type Stream struct {
	conn types.HijackedResponse
	out  *io.PipeReader
	done chan struct{}
}

// ExecStream starts cmd in the running container. The stream outlives ctx, which
// is for the start alone; Close ends it.
func (c *Client) ExecStream(ctx context.Context, id string, cmd []string) (*Stream, error) {
	made, err := c.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: cmd, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, err
	}
	conn, err := c.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	s := &Stream{conn: conn, out: out, done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(s.done)
		var tail tailBuffer
		_, err := stdcopy.StdCopy(in, &tail, conn.Reader)
		if err == nil {
			err = c.exitOf(ctx, made.ID, cmd, tail.String())
		}
		if err == nil {
			err = io.EOF
		}
		in.CloseWithError(err)
	}()
	return s, nil
}

func (c *Client) exitOf(ctx context.Context, execID string, cmd []string, output string) error {
	state, err := c.api.ContainerExecInspect(ctx, execID)
	if err != nil {
		return err
	}
	if state.ExitCode != 0 {
		return &ExitError{Command: strings.Join(cmd, " "), Code: state.ExitCode, Output: output}
	}
	if state.Running {
		return errors.New("the engine closed the stream of a running command")
	}
	return nil
}

// Read reads the command's standard output.
func (s *Stream) Read(p []byte) (int, error) { return s.out.Read(p) }

// Write writes to the command's standard input.
func (s *Stream) Write(p []byte) (int, error) { return s.conn.Conn.Write(p) }

// Close ends the connection: the command reads the end of its standard input.
func (s *Stream) Close() error {
	s.conn.Close()
	err := s.out.Close()
	<-s.done
	return err
}
