package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// syncer acts inside running containers: through the agent of their node, and
// for commands through the API server, or the node where a user is given.
type syncer struct {
	engine    *docker.Client
	agents    map[string]*agent.Node // by node, of the beginning
	live      *liveNodes             // that come later; nil where nodes are not containers of the engine
	kube      *kube.Client
	namespace string
}

func newSyncer(engine *docker.Client, s *session) *syncer {
	out := &syncer{engine: engine, agents: map[string]*agent.Node{}, live: s.live, kube: s.kube, namespace: s.deploy.Namespace()}
	for _, a := range s.agents {
		out.agents[a.Name()] = a
	}
	return out
}

// Sync carries out file operations in a pod's container.
func (s *syncer) Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error {
	a, err := s.agentOf(ctx, pod)
	if err != nil {
		return err
	}
	return away(a.Sync(ctx, pod.ContainerID, files))
}

// away adds devloop's own word for a node that does not answer.
func away(err error) error {
	if errors.Is(err, agent.ErrAway) {
		return fmt.Errorf("%w: %w", devloop.ErrNodeAway, err)
	}
	return err
}

// Restart starts the container's program again in place.
func (s *syncer) Restart(ctx context.Context, pod model.PodState) (model.Program, error) {
	a, err := s.agentOf(ctx, pod)
	if err != nil {
		return model.Program{}, err
	}
	p, err := a.Restart(ctx, pod.ContainerID)
	if errors.Is(err, agent.ErrNoSupervisor) {
		return model.Program{}, devloop.ErrNoSupervisor
	}
	if err != nil {
		return model.Program{}, away(err)
	}
	program := s.program(ctx, a, pod, p)
	if !p.Running {
		err = &devloop.ProgramEnded{Pod: pod.Name, Program: program}
	}
	return program, err
}

// AwaitProgram returns when the container's program has been started or has
// ended since it was as known says.
func (s *syncer) AwaitProgram(ctx context.Context, pod model.PodState, known model.Program) (model.Program, error) {
	a, err := s.agentOf(ctx, pod)
	if err != nil {
		return model.Program{}, err
	}
	p, err := a.AwaitProgram(ctx, pod.ContainerID, agent.Program{Running: known.Running, Starts: known.Starts})
	if errors.Is(err, agent.ErrNoSupervisor) {
		return model.Program{}, devloop.ErrNoSupervisor
	}
	if err != nil {
		return model.Program{}, err
	}
	return s.program(ctx, a, pod, p), nil
}

// lastWords is how many lines of its log are shown of a program that has ended.
const lastWords = 10

// program adds the last lines of a program's log where it has ended.
func (s *syncer) program(ctx context.Context, a *agent.Node, pod model.PodState, p agent.Program) model.Program {
	out := model.Program{Running: p.Running, Starts: p.Starts, Status: p.Status, Failure: p.Failure}
	if p.Running || p.Starts == 0 {
		return out
	}
	var log bytes.Buffer
	if err := a.Log(ctx, pod.ContainerID, 2*lastWords, false, &log); err != nil {
		return out // that it has ended is the news; its log is a help
	}
	for line := range strings.Lines(log.String()) {
		fields := strings.SplitN(strings.TrimRight(line, "\r\n"), " ", 4) // time, stream, P or F, text
		if len(fields) == 4 && !strings.HasPrefix(fields[3], "berth: ") {
			out.Log = append(out.Log, fields[3])
		}
	}
	out.Log = out.Log[max(0, len(out.Log)-lastWords):]
	return out
}

// Exec runs a command in the container.
func (s *syncer) Exec(ctx context.Context, pod model.PodState, spec model.ExecSpec, output func(line string)) error {
	switch {
	case spec.Privileged:
		return problem.New(fmt.Sprintf("run %q in pod %q", spec.Command, pod.Name),
			errors.New("a command has its container's own rights"), "leave out privileged of the rule's exec, or set it for the service")
	case spec.User != "" && s.live == nil:
		return problem.New(fmt.Sprintf("run %q in pod %q", spec.Command, pod.Name),
			errors.New("the Kubernetes API runs commands only as the container's own user"), "leave out user of the rule's exec")
	}
	lines := &lineSplitter{emit: output}
	defer lines.flush()
	o := kube.ExecOptions{
		Container: pod.Container, Stdout: lines, Stderr: lines,
		Command: execOptions{workdir: spec.WorkingDir, env: spec.Env}.command(spec.Command),
	}
	if spec.User != "" {
		node, err := s.agentOf(ctx, pod)
		if err != nil {
			return err
		}
		user, err := userOf(ctx, node, pod.ContainerID, spec.User)
		if err != nil {
			return away(err)
		}
		o.Command = spec.Command
		return cluster.NodeExec{Node: pod.Node, Container: pod.ContainerID, User: user, Dir: spec.WorkingDir, Env: spec.Env}.Run(ctx, s.engine, o)
	}
	return s.kube.Exec(ctx, s.namespace, pod.Name, o)
}

// Ports lists the TCP ports on which a container's programs listen.
func (s *syncer) Ports(ctx context.Context, node, container string) ([]int, error) {
	a, err := s.agentOf(ctx, model.PodState{Node: node})
	if err != nil {
		return nil, err
	}
	return a.Ports(ctx, container)
}

// AwaitSuccessor returns when another container runs in the place of one, or
// has ended at once: why, the wait for the service says.
func (s *syncer) AwaitSuccessor(ctx context.Context, node, namespace, pod, container, not string, ports []int) error {
	a, err := s.agentOf(ctx, model.PodState{Node: node})
	if err != nil {
		return err
	}
	_, err = a.AwaitSuccessor(ctx, agent.Successor{Namespace: namespace, Pod: pod, Container: container, Not: not, Ports: ports})
	if errors.Is(err, agent.ErrEnded) {
		return nil
	}
	return err
}

func (s *syncer) agentOf(ctx context.Context, pod model.PodState) (*agent.Node, error) {
	a, found := s.agents[pod.Node]
	switch {
	case found:
		return a, nil
	case s.live == nil:
		return nil, fmt.Errorf("node %q has no agent", pod.Node)
	}
	return s.live.agent(ctx, pod.Node)
}

// lineSplitter passes on what is written to it line by line. client-go writes
// standard output and standard error from one goroutine each.
type lineSplitter struct {
	emit func(string)

	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lineSplitter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	for {
		line, rest, found := bytes.Cut(l.buf.Bytes(), []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.emit(strings.TrimRight(string(line), "\r"))
		l.buf = *bytes.NewBuffer(bytes.Clone(rest))
	}
}

// flush passes on a last line without its end.
func (l *lineSplitter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 0 {
		l.emit(l.buf.String())
		l.buf.Reset()
	}
}
