package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Pipe is a command that runs in a pod's container, its standard output and
// input as one connection. Reading ends with io.EOF when the command has ended
// well, else with why it has not.
type Pipe struct {
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Pipe starts a command in a pod with one container. It lives until Close, not
// as long as ctx; what keeps it from starting is the error of reading. It should
// end with its input, and write little to standard error.
func (c *Client) Pipe(ctx context.Context, namespace, pod string, command []string) *Pipe {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	p := &Pipe{stdin: stdin, stdout: stdout, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		var stderr bytes.Buffer
		err := c.Exec(life, namespace, pod, ExecOptions{Command: command, Stdin: in, Stdout: out, Stderr: &stderr})
		if err == nil {
			err = io.EOF
		} else {
			err = fmt.Errorf("%s in pod %q: %w: %s", strings.Join(command, " "), pod, err, strings.TrimSpace(stderr.String()))
		}
		_ = stdin.Close() // what still copies from it is not to call this a fault
		_ = out.CloseWithError(err)
	}()
	return p
}

func (p *Pipe) Read(b []byte) (int, error)  { return p.stdout.Read(b) }
func (p *Pipe) Write(b []byte) (int, error) { return p.stdin.Write(b) }

// ends is how long a command may take to end after its input has.
const ends = time.Second

// Close ends the command's input, and with that the command; one that goes on is
// left behind.
func (p *Pipe) Close() error {
	_ = p.stdin.Close()
	_ = p.stdout.Close()
	select {
	case <-p.done:
	case <-time.After(ends):
	}
	p.cancel()
	<-p.done
	return nil
}
