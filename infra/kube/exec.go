package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// ExecOptions are a command and what it is connected to.
type ExecOptions struct {
	Container      string // "" where the pod has one
	Command        []string
	Stdin          io.Reader // nil for none
	Stdout, Stderr io.Writer // with TTY, stderr arrives on Stdout
	TTY            bool
	Sizes          <-chan TerminalSize // the terminal's size, now and when it changes; nil without TTY
}

// TerminalSize is in characters.
type TerminalSize struct{ Width, Height uint16 }

// ExitError is a command that ran and ended with a status other than 0.
type ExitError struct{ Code int }

// Error says the status.
func (e *ExitError) Error() string { return fmt.Sprintf("the command ended with status %d", e.Code) }

// Exec runs a command in a running container and returns when it has ended:
// nil for status 0, *ExitError for any other. Ending ctx ends the connection,
// not the command.
func (c *Client) Exec(ctx context.Context, namespace, pod string, o ExecOptions) error {
	return c.remote(ctx, namespace, pod, "exec", o)
}

// Attach connects to a running container's main process.
func (c *Client) Attach(ctx context.Context, namespace, pod string, o ExecOptions) error {
	return c.remote(ctx, namespace, pod, "attach", o)
}

func (c *Client) remote(ctx context.Context, namespace, pod, verb string, o ExecOptions) error {
	query := url.Values{}
	set := func(name string, on bool) {
		if on {
			query.Set(name, "true")
		}
	}
	if o.Container != "" {
		query.Set("container", o.Container)
	}
	for _, arg := range o.Command {
		query.Add("command", arg)
	}
	set("stdin", o.Stdin != nil)
	set("stdout", o.Stdout != nil)
	set("stderr", o.Stderr != nil && !o.TTY)
	set("tty", o.TTY)
	target := c.rest.Post().AbsPath("/api/v1/namespaces/" + namespace + "/pods/" + pod + "/" + verb).URL()
	target.RawQuery = query.Encode()

	executor, err := newExecutor(c.config, target)
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY}
	if o.TTY {
		options.Stderr = nil
		if o.Sizes != nil {
			options.TerminalSizeQueue = sizeQueue{ctx, o.Sizes}
		}
	}
	err = executor.StreamWithContext(klog.NewContext(ctx, klog.Logger{}), options) // it would print of what it also returns
	var status utilexec.CodeExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return &ExitError{status.Code}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return c.explain(err)
}

// newExecutor prefers WebSocket and falls back to SPDY, which older API
// servers and proxies want.
func newExecutor(config *rest.Config, target *url.URL) (remotecommand.Executor, error) {
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", target)
	if err != nil {
		return nil, err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", target.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, upgradeRefused)
}

func upgradeRefused(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

type sizeQueue struct {
	ctx   context.Context
	sizes <-chan TerminalSize
}

// Next waits for the next size; nil ends the queue.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	select {
	case <-q.ctx.Done():
		return nil
	case s, ok := <-q.sizes:
		if !ok {
			return nil
		}
		return &remotecommand.TerminalSize{Width: s.Width, Height: s.Height}
	}
}
