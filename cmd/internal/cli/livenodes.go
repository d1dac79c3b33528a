package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
)

// liveNodes are the nodes of a kind cluster as they are now: while a session goes
// on, nodes come or are started, and others go.
type liveNodes struct {
	list    func(ctx context.Context) (running []*image.KindNode, stopped []string, err error)
	connect func(ctx context.Context, node string) (*agent.Node, error)

	nodesMu sync.Mutex
	nodes   []*image.KindNode // as listed last
	opened  []*image.KindNode // that came since the session began

	agentsMu sync.Mutex
	agents   map[string]*agent.Node // of nodes that came since the session began
}

func newLiveNodes(engine *docker.Client, cluster string, known []*image.KindNode) *liveNodes {
	return &liveNodes{
		list: func(ctx context.Context) ([]*image.KindNode, []string, error) {
			return image.AllNodesOf(ctx, engine, cluster)
		},
		connect: func(ctx context.Context, node string) (*agent.Node, error) {
			return agent.Connect(ctx, engine, node)
		},
		nodes: known, agents: map[string]*agent.Node{},
	}
}

// workers are the nodes that run pods now. One that was known and is stopped is
// among them, one that is gone is not.
func (l *liveNodes) workers(ctx context.Context) ([]image.Node, error) {
	running, stopped, err := l.list(ctx)
	if err != nil {
		return nil, err
	}
	l.nodesMu.Lock()
	defer l.nodesMu.Unlock()
	known := func(name string) *image.KindNode {
		i := slices.IndexFunc(l.nodes, func(n *image.KindNode) bool { return n.Name() == name })
		if i < 0 {
			return nil
		}
		return l.nodes[i]
	}
	var now []*image.KindNode
	for _, n := range running {
		if old := known(n.Name()); old != nil {
			n = old
		} else {
			l.opened = append(l.opened, n)
		}
		now = append(now, n)
	}
	for _, name := range stopped {
		if old := known(name); old != nil {
			now = append(now, old)
		}
	}
	l.nodes = now
	return workersOf(now), nil
}

// agent connects to the agent of a node that was not there, or did not run, when
// the session began. Where that fails the node counts as one that does not answer.
func (l *liveNodes) agent(ctx context.Context, node string) (*agent.Node, error) {
	l.agentsMu.Lock()
	defer l.agentsMu.Unlock()
	if a := l.agents[node]; a != nil {
		return a, nil
	}
	a, err := l.connect(ctx, node)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			err = a.Close()
		}
		return nil, errors.Join(context.Cause(ctx), err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", devloop.ErrNodeAway, err)
	}
	l.agents[node] = a
	return a, nil
}

// close ends what was opened on nodes that came later.
func (l *liveNodes) close() error {
	var errs []error
	l.agentsMu.Lock()
	defer l.agentsMu.Unlock()
	for _, a := range l.agents {
		errs = append(errs, a.Close())
	}
	l.nodesMu.Lock()
	defer l.nodesMu.Unlock()
	for _, n := range l.opened {
		n.Close()
	}
	return errors.Join(errs...)
}
