package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/agentset"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// agentSyncer syncs through the agent of a cluster that berth did not create,
// for images that lack what tarSyncer takes. All else is as with that.
type agentSyncer struct {
	tarSyncer
	nodes  agentNodes
	events devloop.EventSink

	mu   sync.Mutex
	lost map[string]bool // nodes whose agent could not be reached, of which the user knows
}

// agentNodes are the nodes that have the agent.
type agentNodes interface {
	Node(ctx context.Context, name string) (*agent.Node, error)
}

// Sync carries out file operations with the agent; with tar while that cannot be
// reached, which is said once.
func (s *agentSyncer) Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error {
	node, err := s.nodes.Node(ctx, pod.Node)
	if err == nil {
		if err = node.Sync(ctx, pod.ContainerID, files); !errors.Is(err, agent.ErrAway) {
			s.isLost(pod.Node, false)
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !s.isLost(pod.Node, true) {
		s.events(devloop.Event{Time: time.Now(), Kind: devloop.EventWarn, Why: fmt.Sprintf("the agent on node %q cannot be reached, files are synced with tar: %v", pod.Node, err)})
	}
	return s.tarSyncer.Sync(ctx, pod, files)
}

// isLost notes whether a node's agent can be reached, and returns what was known
// before.
func (s *agentSyncer) isLost(node string, lost bool) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.lost[node]
	s.lost[node] = lost
	return before
}

// foreignSyncer is the best way to files in containers of a cluster that berth
// did not create: the agent where the user asks for it and it can be had, else
// tar. It says which, and why.
func (app *App) foreignSyncer(ctx context.Context, base *syncer, s *session, deps *devloop.Deps, nodes []corev1.Node, opts sessionOptions) (devloop.Syncer, error) {
	base.live = nil // on these nodes is no agent that is asked without --agent
	tar := tarSyncer{base}
	const how = "with tar of the images, through the API server: "
	switch {
	case opts.events == nil: // nothing is synced
		return tar, nil
	case !opts.agent:
		progress.Say(deps.Sink, progress.Note, "sync", how+"berth did not create this cluster, and puts no agent onto its nodes without --agent; programs restart in new pods")
		return tar, nil
	}
	set, err := installAgent(ctx, s, deps, nodes)
	s.set = set
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		progress.Say(deps.Sink, progress.Warn, "sync", how+"the agent cannot be put onto the nodes: "+err.Error())
		return tar, nil
	}
	progress.Say(deps.Sink, progress.Note, "sync", "with the agent, a DaemonSet in the namespace "+agentset.Namespace+" while this runs; programs restart in new pods")
	return &agentSyncer{tarSyncer: tar, nodes: set, events: opts.events, lost: map[string]bool{}}, nil
}

// installAgent brings the agent and its image to the cluster; nothing of it is
// left where that fails.
func installAgent(ctx context.Context, s *session, deps *devloop.Deps, nodes []corev1.Node) (*agentset.Set, error) {
	if err := fitForAgent(nodes); err != nil {
		return nil, err
	}
	ref, err := agentImage(ctx, deps, platformsOf(nodes))
	if err != nil {
		return nil, err
	}
	set, err := agentset.New(s.kube, agentset.Options{Image: ref, PullSecret: deps.Target.PullSecret, Nodes: nodes}, deps.Sink)
	if err != nil {
		return nil, err
	}
	task := progress.Start(deps.Sink, "agent", "installing")
	if err := task.End(set.Start(ctx), "answers on all nodes"); err != nil {
		return nil, errors.Join(err, removeSet(ctx, set))
	}
	return set, s.pruneImages(ctx, agentset.Namespace, []string{ref})
}

// fitForAgent says why nodes cannot have the agent.
func fitForAgent(nodes []corev1.Node) error {
	if len(nodes) == 0 {
		return errors.New("the nodes and their container runtimes are not known")
	}
	for _, n := range nodes {
		info := n.Status.NodeInfo
		if info.OperatingSystem != "linux" {
			return fmt.Errorf("node %q runs %s", n.Name, info.OperatingSystem)
		}
		if !strings.HasPrefix(info.ContainerRuntimeVersion, "containerd://") {
			return fmt.Errorf("the runtime of node %q is %s, and the agent knows containerd alone", n.Name, info.ContainerRuntimeVersion)
		}
	}
	return nil
}

// agentImage makes the agent's image available to the cluster in the way of the
// project's images, and returns what pods call it.
func agentImage(ctx context.Context, deps *devloop.Deps, platforms []string) (string, error) {
	dir, err := os.MkdirTemp("", "berth-agent-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	source := "agent-${TARGETARCH}"
	for _, platform := range platforms {
		_, arch, _ := strings.Cut(platform, "/")
		if len(platforms) == 1 {
			source = "agent-" + arch // BuildKit alone knows the argument
		}
		if err := writeAgent(filepath.Join(dir, "agent-"+arch), arch); err != nil {
			return "", err
		}
	}
	spec := model.BuildSpec{
		Name: agentset.Namespace, Project: agentset.Namespace, Context: dir, Unrecorded: true,
		DockerfileInline: "FROM scratch\nARG TARGETARCH\nCOPY " + source + " /berth-agent\n",
	}
	facts, err := deps.Images.Build(ctx, spec, deps.Sink)
	if err != nil {
		return "", err
	}
	_, err = deps.Loader.Load(ctx, []string{facts.Ref}, deps.Sink)
	return facts.Ref, err
}

// writeAgent writes the agent for an architecture; the same for everybody, so
// that it is the same layer everywhere.
func writeAgent(name, arch string) error {
	binary, err := agent.Binary(arch)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, binary, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Chmod(name, 0o755), os.Chtimes(name, time.Time{}, time.Unix(0, 0)))
}

// removeAgent takes the session's agent off the cluster, also after Ctrl-C.
func (app *App) removeAgent(ctx context.Context, s *session) {
	if s.set == nil {
		return
	}
	if err := removeSet(ctx, s.set); err != nil {
		progress.Say(app.sink(), progress.Warn, "agent", "it stays on the nodes: "+err.Error()+"; `kubectl delete namespace "+agentset.Namespace+"` removes it")
	}
}

func removeSet(ctx context.Context, set *agentset.Set) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := set.Remove(ctx)
	if apierrors.IsForbidden(err) {
		return nil // who may not remove it could not make it
	}
	return err
}
