package docker

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// An ExecSpec is a command to run inside a running container.
type ExecSpec struct {
	Cmd        []string
	Env        []string // NAME=value, added to the container's
	User       string
	Dir        string
	Privileged bool
	Stdin      io.Reader // nil: none
	Stdout     io.Writer // nil: dropped
	Stderr     io.Writer // nil: kept for the error only
}

// Exec runs a command in the container and waits for its end. A non-zero exit
// is an ExitError with the last lines of standard error.
func (c *Client) Exec(ctx context.Context, id string, spec ExecSpec) error {
	made, err := c.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: spec.Cmd, Env: spec.Env, User: spec.User, WorkingDir: spec.Dir, Privileged: spec.Privileged,
		AttachStdin: spec.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	conn, err := c.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	var sending sync.WaitGroup
	if spec.Stdin != nil {
		sending.Go(func() {
			// A command that ends early stops reading; its status tells why.
			_, _ = io.Copy(conn.Conn, spec.Stdin)
			_ = conn.CloseWrite()
		})
	}
	var tail tailBuffer
	stdout, stderr := spec.Stdout, io.Writer(&tail)
	if stdout == nil {
		stdout = io.Discard
	}
	if spec.Stderr != nil {
		stderr = io.MultiWriter(spec.Stderr, &tail)
	}
	_, err = stdcopy.StdCopy(stdout, stderr, conn.Reader)
	conn.Close()
	sending.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("read the output of %s: %w", spec.Cmd[0], err)
	}
	state, err := c.api.ContainerExecInspect(ctx, made.ID)
	if err != nil {
		return err
	}
	if state.ExitCode != 0 {
		return &ExitError{Command: strings.Join(spec.Cmd, " "), Code: state.ExitCode, Output: tail.String()}
	}
	return nil
}
