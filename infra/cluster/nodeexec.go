package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
)

// A NodeExec says how a node starts a command in one of its containers. That
// can do what the API server cannot: choose the user, and leave the command
// running.
type NodeExec struct {
	Node      string       // the node's container
	Container string       // containerd id
	User      *docker.User // nil is the container's own
	Dir       string       // "" is the container's own
	Env       []string     // KEY=VALUE, beside the container's own
	Detach    bool         // return when the command has started; its output is dropped
}

// runc is the container runtime of kind's nodes, and where containerd has it
// keep the state of the kubelet's containers.
var runc = []string{"runc", "--root", "/run/containerd/runc/k8s.io", "exec"}

// detached runs a command without its streams, and shows what it wrote only
// when it failed.
const detached = `e=$(mktemp) && if "$@" < /dev/null > /dev/null 2> "$e"; then rm "$e"; else s=$?; cat "$e" >&2; rm "$e"; exit $s; fi`

// notStarted is how runc begins to say that there is no process.
const notStarted = "exec failed: "

// Run runs the command of o, whose Container is not looked at, as
// kube.Client.Exec does: nil for status 0, *kube.ExitError for any other.
// Ending ctx cuts the streams.
func (e NodeExec) Run(ctx context.Context, engine *docker.Client, o kube.ExecOptions) error {
	var said firstBytes
	streams := docker.Streams{Stdin: o.Stdin != nil, TTY: o.TTY, Stdout: o.Stdout, Stderr: io.MultiWriter(o.Stderr, &said)}
	p, err := engine.Start(ctx, e.Node, e.command(o), streams)
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
	switch {
	case err != nil || status == 0:
		return err
	case strings.Contains(string(said), notStarted):
		return errors.New(strings.TrimSpace(string(said)))
	}
	return &kube.ExitError{Code: status}
}

// firstBytes keeps the beginning of what is written.
type firstBytes []byte

func (b *firstBytes) Write(p []byte) (int, error) {
	const most = 4096
	*b = append(*b, p[:min(len(p), most-len(*b))]...)
	return len(p), nil
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

// command is the node's command line.
func (e NodeExec) command(o kube.ExecOptions) []string {
	args := slices.Clone(runc)
	if u := e.User; u != nil {
		args = append(args, "--user", fmt.Sprintf("%d:%d", u.Uid, u.Gid))
		for _, gid := range u.Sgids {
			args = append(args, "--additional-gids", strconv.Itoa(gid))
		}
	}
	if e.Dir != "" {
		args = append(args, "--cwd", e.Dir)
	}
	for _, variable := range e.Env {
		args = append(args, "--env", variable)
	}
	if o.TTY {
		args = append(args, "--tty")
	}
	if e.Detach {
		args = slices.Concat([]string{"sh", "-c", detached, "sh"}, args, []string{"--detach"})
	}
	return append(append(args, e.Container), o.Command...)
}
