package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
)

// Images go to the nodes that there are when they are loaded, over the
// connection that a node has already.
func TestNodesThatComeLaterGetImages(t *testing.T) {
	known := []*image.KindNode{image.NewNode(nil, "w1"), image.NewNode(nil, "w2")}
	live := newLiveNodes(nil, "c", known)
	for _, c := range []struct{ running, stopped, want string }{
		{"w1 w2", "", "w1 w2"},
		{"w1 w2 w3", "w4", "w1 w2 w3"}, // w4 has never run since
		{"w1 w3 w4", "w2", "w1 w3 w4 w2"},
		{"w1 w4", "", "w1 w4"},
	} {
		live.list = func(context.Context) (running []*image.KindNode, stopped []string, err error) {
			for _, name := range strings.Fields(c.running) {
				running = append(running, image.NewNode(nil, name))
			}
			return running, strings.Fields(c.stopped), nil
		}
		nodes, err := live.workers(t.Context())
		var names []string
		for _, n := range nodes {
			names = append(names, n.Name())
		}
		if got := strings.Join(names, " "); err != nil || got != c.want || nodes[0] != image.Node(known[0]) {
			t.Errorf("of %q and the stopped %q: %q, error %v", c.running, c.stopped, got, err)
		}
	}
	broken := errors.New("the engine is away")
	live.list = func(context.Context) ([]*image.KindNode, []string, error) { return nil, nil, broken }
	if _, err := live.workers(t.Context()); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// A pod on a node that came after dev began is synced to; until the node answers
// it counts as away.
func TestNodesThatComeLaterAreSyncedTo(t *testing.T) {
	tries := 0
	live := newLiveNodes(nil, "c", nil)
	live.connect = func(_ context.Context, node string) (*agent.Node, error) {
		if tries++; tries == 1 || node != "late" {
			return nil, errors.New("container " + node + " is not running")
		}
		return new(agent.Node), nil
	}
	s := &syncer{agents: map[string]*agent.Node{}, live: live}
	pod := model.PodState{Name: "web-1", Node: "late", ContainerID: "id"}
	if err := s.Sync(t.Context(), pod, nil); !errors.Is(err, devloop.ErrNodeAway) {
		t.Errorf("error %v", err)
	}
	first, err := s.agentOf(t.Context(), pod)
	again, errAgain := s.agentOf(t.Context(), pod)
	if err != nil || errAgain != nil || first != again || tries != 2 {
		t.Errorf("%d tries, errors %v, %v", tries, err, errAgain)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := s.agentOf(ended, model.PodState{Node: "other"}); errors.Is(err, devloop.ErrNodeAway) || !errors.Is(err, context.Canceled) {
		t.Errorf("a sync that was given up: %v", err)
	}
	if err := live.close(); err != nil {
		t.Error(err)
	}
}
