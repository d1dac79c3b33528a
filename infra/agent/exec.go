package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
)

// process is the agent running in a node: its standard output and input as one
// connection.
type process struct {
	stdin  io.WriteCloser
	stdout *io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// startProcess starts command in a container. The process lives until Close.
func startProcess(ctx context.Context, engine *docker.Client, container string, command []string) (*process, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel) // ctx is for the start alone
	out, in := io.Pipe()
	var stderr tail
	p, err := engine.Start(life, container, command, docker.Streams{Stdin: true, Stdout: in, Stderr: &stderr})
	if !stop() {
		err = errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &process{stdin: p.Stdin, stdout: out, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		status, err := p.Wait(life)
		switch {
		case err == nil && status == 0:
			err = io.EOF
		case err == nil:
			err = fmt.Errorf("%s: exit status %d: %s", strings.Join(command, " "), status, stderr.String())
		}
		in.CloseWithError(err)
	}()
	return s, nil
}

func (p *process) Read(b []byte) (int, error)  { return p.stdout.Read(b) }
func (p *process) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// Close cuts the streams: the agent reads the end of its input and ends.
func (p *process) Close() error {
	p.cancel()
	err := p.stdout.Close()
	<-p.done
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	t.buf.Write(p)
	if extra := t.buf.Len() - most; extra > 0 {
		t.buf.Next(extra)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(t.buf.String()) }
