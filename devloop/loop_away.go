package devloop

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/berth-dev/berth/infra/model"
)

// leaveOut notes that pods were left out because their nodes do not answer, and
// says so once of each node. They lack what was to be done in them.
func (l *loop) leaveOut(pods []model.PodState) {
	seen := maps.Clone(l.have.Seen)
	for _, p := range pods {
		delete(seen, p.ContainerID)
		if l.have.Away[p.Node] {
			continue
		}
		l.setAway(p.Node, true)
		l.asking = append(l.asking, p)
		l.send(Event{Kind: EventWarn, Why: fmt.Sprintf("node %q does not answer: what runs there gets what changes when it does", p.Node), Line: "berth doctor"})
	}
	l.have.Seen = seen
}

func (l *loop) setAway(node string, is bool) {
	nodes := maps.Clone(l.have.Away)
	if nodes == nil {
		nodes = map[string]bool{}
	}
	if nodes[node] = is; !is {
		delete(nodes, node)
	}
	l.have.Away = nodes
}

// askNodes has the nodes that do not answer asked until they do.
func (l *loop) askNodes(ctx context.Context) {
	for _, p := range l.asking {
		l.workers.group.Go(func() { l.askNode(ctx, p) })
	}
	l.asking = nil
}

// askNode asks the node of a pod now and then, and tells when it answers.
func (l *loop) askNode(ctx context.Context, pod model.PodState) {
	for {
		timer := l.e.deps.Clock.NewTimer(followAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		if err := l.e.deps.Syncer.Sync(ctx, pod, nil); errors.Is(err, ErrNodeAway) {
			continue
		}
		select {
		case l.back <- pod.Node:
		case <-ctx.Done():
		}
		return
	}
}

// nodeBack takes up a node that answers again: what runs there counts as new.
func (l *loop) nodeBack(node string) {
	l.setAway(node, false)
	clear(l.greeted)
	l.send(Event{Kind: EventWarn, Why: fmt.Sprintf("node %q answers again", node)})
}
