package cluster

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

func TestDescribeFindsWhatIsMissing(t *testing.T) {
	rec := &record{
		Spec:       Spec{Name: "x", Workers: new(2), HTTPPort: 8480},
		Kubernetes: "v1.36.3", Nodes: []string{"x-control-plane", "x-worker", "x-worker2"},
	}
	up := func(name string) Node { return Node{Name: name, running: true} }
	down := func(name string) Node { return Node{Name: name} }
	for name, tc := range map[string]struct {
		nodes  []Node
		rec    *record
		state  State
		reason string
		hint   string
	}{
		"nothing":                {nil, nil, Absent, "", "berth cluster create --name x"},
		"whole":                  {[]Node{up("x-control-plane"), up("x-worker"), up("x-worker2")}, rec, Running, "", ""},
		"somebody else's":        {[]Node{up("x-control-plane")}, nil, Running, "", ""},
		"one node stopped":       {[]Node{up("x-control-plane"), down("x-worker"), up("x-worker2")}, rec, Partial, "node is stopped: x-worker", "berth cluster start x"},
		"all stopped":            {[]Node{down("x-control-plane"), down("x-worker"), down("x-worker2")}, rec, Stopped, "all nodes are stopped", "berth cluster start x"},
		"a worker removed":       {[]Node{up("x-control-plane"), up("x-worker")}, rec, Incomplete, "node is gone: x-worker2", "berth cluster delete x"},
		"only a worker is left":  {[]Node{up("x-worker")}, rec, Incomplete, "nodes are gone: x-control-plane, x-worker2", "delete"},
		"a stranger's worker":    {[]Node{up("x-worker")}, nil, Incomplete, "node is gone: the control plane", "delete"},
		"gone beats not running": {[]Node{down("x-control-plane")}, rec, Incomplete, "nodes are gone: x-worker, x-worker2", "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			got := describe("x", tc.nodes, tc.rec)
			if got.State != tc.state || got.Reason != tc.reason {
				t.Errorf("got %s (%s)", got.State, got.Reason)
			}
			if got.Owned != (tc.rec != nil) {
				t.Errorf("owned: %v", got.Owned)
			}
			err := got.Err()
			if (err == nil) != (tc.state == Running) || !strings.Contains(problem.Hint(err), tc.hint) {
				t.Errorf("error %v, hint %q", err, problem.Hint(err))
			}
		})
	}
}

func TestAClusterWithoutAWorkerCanBeControlled(t *testing.T) {
	rec := &record{Spec: Spec{Name: "x", Workers: new(1)}, Nodes: []string{"x-control-plane", "x-worker"}}
	for name, tc := range map[string]struct{ control, worker, want bool }{
		"whole": {true, true, true}, "a worker stopped": {true, false, true}, "the control plane stopped": {false, true, false}, "all stopped": {false, false, false},
	} {
		info := describe("x", []Node{
			{Name: "x-control-plane", Role: roleControlPlane, running: tc.control}, {Name: "x-worker", Role: roleWorker, running: tc.worker},
		}, rec)
		if err := info.ControlErr(); (err == nil) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStoppedClusterKnowsItsPorts(t *testing.T) {
	info := describe("x", []Node{{Name: "x-control-plane"}}, &record{Spec: Spec{HTTPPort: 8480, HTTPSPort: 8443}, Nodes: []string{"x-control-plane"}})
	if info.HTTPPort() != 8480 || info.HTTPSPort() != 8443 {
		t.Errorf("ports %d and %d", info.HTTPPort(), info.HTTPSPort())
	}
}

func TestNodesAreSortedAsPeopleCount(t *testing.T) {
	if compareNodeNames("x-worker2", "x-worker10") >= 0 || compareNodeNames("x-worker", "x-worker2") >= 0 {
		t.Error("worker, worker2, worker10")
	}
}
