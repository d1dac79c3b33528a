package cluster

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sync"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
)

// A NodeExec says how a node starts a command in one of its containers. That
// can do what the API server cannot: choose the user, and leave the command
// running.
type NodeExec struct {
	Node      string // the node's container
	Container string // containerd id
	User      string // uid, uid:gid or a name of the container's /etc/passwd; "" is the container's own
	Dir       string // "" is the container's own
	Detach    bool   // return when the command has started; its output is dropped
}

// ctr is containerd's own client, which every kind node has, and the
// namespace in which the kubelet's containers are.
var ctr = []string{"ctr", "--namespace", "k8s.io", "tasks", "exec"}

// Run runs the command of o, whose Container is not looked at, as
// kube.Client.Exec does: nil for status 0, *kube.ExitError for any other.
// Ending ctx cuts the streams.
func (e NodeExec) Run(ctx context.Context, engine *docker.Client, o kube.ExecOptions) error {
	p, err := engine.Start(ctx, e.Node, e.command(rand.Text(), o), docker.Streams{Stdin: o.Stdin != nil, TTY: o.TTY, Stdout: o.Stdout, Stderr: o.Stderr})
	if err != nil {
		return err
	}
	if o.Stdin != nil {
		go func() {
			// A command may end without reading all of its input.
			_, _ = io.Copy(p.Stdin, o.Stdin)
			_ = p.Stdin.Close()
		}()
	}
	running, ended := context.WithCancel(ctx)
	var resizes sync.WaitGroup
	resizes.Go(func() { resize(running, p, o.Sizes) })
	status, err := p.Wait(ctx)
	ended()
	resizes.Wait()
	if err == nil && status != 0 {
		err = &kube.ExitError{Code: status}
	}
	return err
}

// resize passes the sizes of a terminal on.
func resize(ctx context.Context, p *docker.Process, sizes <-chan kube.TerminalSize) {
	for {
		select {
		case s := <-sizes:
			_ = p.Resize(ctx, s.Width, s.Height) // a command that has just ended has no size
		case <-ctx.Done():
			return
		}
	}
}

// command is the node's command line, for a process of this id.
func (e NodeExec) command(id string, o kube.ExecOptions) []string {
	args := append(slices.Clone(ctr), "--exec-id", id)
	if e.User != "" {
		args = append(args, "--user", e.User)
	}
	if e.Dir != "" {
		args = append(args, "--cwd", e.Dir)
	}
	if o.TTY {
		args = append(args, "--tty")
	}
	if e.Detach {
		args = append(args, "--detach", "--log-uri", "file:///dev/null")
	}
	return append(append(args, e.Container), o.Command...)
}
