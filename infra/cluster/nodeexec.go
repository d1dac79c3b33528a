package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
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

// Where containerd keeps what it has told runc, the container runtime of kind's
// nodes, of the kubelet's containers, and where it has runc keep their state.
const (
	runcBundles = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
	runcState   = "/run/containerd/runc/k8s.io"
)

// detached runs a command without its streams, and shows what it wrote only
// when it failed.
const detached = `e=$(mktemp) && if "$@" < /dev/null > /dev/null 2> "$e"; then rm "$e"; else s=$?; cat "$e" >&2; rm "$e"; exit $s; fi`

// notStarted is how runc begins to say that there is no process.
const notStarted = "exec failed: "

// Run runs the command of o, whose Container is not looked at, as
// kube.Client.Exec does: nil for status 0, *kube.ExitError for any other.
// Ending ctx cuts the streams.
func (e NodeExec) Run(ctx context.Context, engine *docker.Client, o kube.ExecOptions) error {
	process, err := e.process(ctx, engine, o)
	if err != nil {
		return err
	}
	file, err := e.write(ctx, engine, process)
	if err != nil {
		return err
	}
	var said firstBytes
	streams := docker.Streams{Stdin: o.Stdin != nil, TTY: o.TTY, Stdout: o.Stdout, Stderr: io.MultiWriter(o.Stderr, &said)}
	p, err := engine.Start(ctx, e.Node, e.command(file), streams)
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

// process describes the command to runc: the container's own process with what
// e and o change. runc's flags could not take away the groups of the container's
// own user.
func (e NodeExec) process(ctx context.Context, engine *docker.Client, o kube.ExecOptions) ([]byte, error) {
	what := fmt.Sprintf("read how node %q runs container %q", e.Node, e.Container)
	var raw, said bytes.Buffer
	status, err := engine.Exec(ctx, e.Node, []string{"cat", runcBundles + e.Container + "/config.json"}, nil, &raw, &said)
	if err == nil && status != 0 {
		err = errors.New(strings.TrimSpace(said.String()))
	}
	if err != nil {
		return nil, problem.New(what, err, "run the command again: the container may just have been replaced")
	}
	var spec struct {
		Process map[string]any `json:"process"`
	}
	d := json.NewDecoder(&raw)
	d.UseNumber() // limits may be larger than a float64 can tell
	err = d.Decode(&spec)
	if err == nil && spec.Process == nil {
		err = errors.New("its configuration has no process")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return json.Marshal(e.change(spec.Process, o))
}

// change gives a container's process the command, user, directory and variables.
func (e NodeExec) change(process map[string]any, o kube.ExecOptions) map[string]any {
	process["args"], process["terminal"] = o.Command, o.TTY
	if e.Dir != "" {
		process["cwd"] = e.Dir
	}
	env, _ := process["env"].([]any)
	for _, variable := range e.Env {
		env = append(env, variable)
	}
	process["env"] = env
	if u := e.User; u != nil {
		user, _ := process["user"].(map[string]any)
		if user = maps.Clone(user); user == nil {
			user = map[string]any{}
		}
		user["uid"], user["gid"], user["additionalGids"] = u.Uid, u.Gid, u.Sgids
		process["user"] = user
	}
	return process
}

// write leaves the description of a process in a file of the node.
func (e NodeExec) write(ctx context.Context, engine *docker.Client, process []byte) (string, error) {
	var name, said bytes.Buffer
	status, err := engine.Exec(ctx, e.Node, []string{"sh", "-c", `f=$(mktemp) && cat > "$f" && echo "$f"`}, bytes.NewReader(process), &name, &said)
	if err == nil && status != 0 {
		err = errors.New(strings.TrimSpace(said.String()))
	}
	if err != nil {
		return "", problem.New(fmt.Sprintf("write onto node %q", e.Node), err, "berth doctor")
	}
	return strings.TrimSpace(name.String()), nil
}

// command is the node's command line, for a process described in a file, which
// is removed as soon as it is open.
func (e NodeExec) command(file string) []string {
	args := []string{"runc", "--root", runcState, "exec", "--process", "/proc/self/fd/3"}
	if e.Detach {
		args = slices.Concat([]string{"sh", "-c", detached, "sh"}, args, []string{"--detach"})
	}
	return slices.Concat([]string{"sh", "-c", `exec 3< "$1" && rm "$1" && shift && exec "$@"`, "sh", file}, args, []string{e.Container})
}
