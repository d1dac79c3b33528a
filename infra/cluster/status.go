package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
)

// A State says what can be done with a cluster.
type State string

// The states of a cluster.
const (
	Absent     State = "absent"     // there is no container of it
	Running    State = "running"    // every node's container runs
	Partial    State = "partial"    // some nodes are stopped
	Stopped    State = "stopped"    // all nodes are stopped
	Unfinished State = "unfinished" // its creation was interrupted, or goes on in another process; Create finishes it
	Incomplete State = "incomplete" // nodes are gone
)

// Info describes a cluster.
type Info struct {
	Name       string `json:"name"`
	Context    string `json:"context"`
	State      State  `json:"state"`
	Reason     string `json:"reason,omitempty"` // why it is not running
	Kubernetes string `json:"kubernetes,omitempty"`
	Owned      bool   `json:"owned"` // berth created it and its settings are berth's
	Nodes      []Node `json:"nodes"`
	Spec       *Spec  `json:"spec,omitempty"` // what it was created from, where Owned
	New        bool   `json:"-"`              // Create has just finished its creation
}

// HTTPPort is the port of 127.0.0.1 that leads to port 80 of the ingress node,
// 0 when none does.
func (i Info) HTTPPort() int { return i.hostPort(80) }

// HTTPSPort is HTTPPort for port 443.
func (i Info) HTTPSPort() int { return i.hostPort(443) }

func (i Info) hostPort(containerPort int) int {
	for _, n := range i.Nodes {
		for _, p := range n.ports {
			if p.ContainerPort == containerPort && p.HostPort != 0 {
				return p.HostPort
			}
		}
	}
	if i.Spec != nil { // a stopped container shows no ports
		return map[int]int{80: i.Spec.HTTPPort, 443: i.Spec.HTTPSPort}[containerPort]
	}
	return 0
}

// List describes all kind clusters of the engine, by name.
func (m *Manager) List(ctx context.Context) ([]Info, error) {
	containers, err := m.engine.Containers(ctx, labelCluster)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Labels[labelCluster])
	}
	slices.Sort(names)
	infos := []Info{}
	for _, name := range slices.Compact(names) {
		info, err := m.Status(ctx, name)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Status describes one cluster from its containers alone: it does not ask the
// API server. A cluster that does not exist is Absent, no error.
func (m *Manager) Status(ctx context.Context, name string) (Info, error) {
	nodes, err := m.Nodes(ctx, name)
	if err != nil {
		return Info{}, err
	}
	rec, err := m.readRecord(ctx, nodes)
	if err != nil {
		return Info{}, err
	}
	info := describe(name, nodes, rec)
	if !info.Owned || info.State == Incomplete {
		return info, nil
	}
	switch was := m.begun(ctx, name); {
	case was.Restoring != "":
		info.State, info.Reason = Unfinished, fmt.Sprintf("the restore of checkpoint %q was interrupted", was.Restoring)
	case was.Unfinished && info.State == Running:
		info.State, info.Reason = Unfinished, "its creation was interrupted"
	}
	return info, nil
}

// begun is what the lock file says that has not come to its end on this engine.
func (m *Manager) begun(ctx context.Context, name string) intent {
	was, err := readIntentFile(m.lockPath(name))
	if err != nil || !was.Unfinished && was.Restoring == "" {
		return intent{}
	}
	if host, err := m.engine.HostFacts(ctx); err != nil || host.EngineID != was.Engine {
		return intent{}
	}
	return was
}

// describe draws the conclusions of Status.
func describe(name string, nodes []Node, rec *record) Info {
	info := Info{Name: name, Context: Context(name), Nodes: nodes}
	if rec != nil {
		info.Owned, info.Spec, info.Kubernetes = true, &rec.Spec, rec.Kubernetes
	}
	var down, have []string
	for _, n := range nodes {
		have = append(have, n.Name)
		if !n.Running() {
			down = append(down, n.Name)
		}
	}
	gone := missing(have, rec)
	switch {
	case len(nodes) == 0:
		info.State = Absent
	case len(gone) > 0:
		info.State = Incomplete
		info.Reason = fmt.Sprintf("%s gone: %s", plural(len(gone), "node is", "nodes are"), strings.Join(gone, ", "))
	case slices.ContainsFunc(nodes, Node.frozen):
		info.State, info.Reason = Partial, "nodes are frozen: a checkpoint is being taken, or was when berth was killed"
	case len(down) == len(nodes):
		info.State, info.Reason = Stopped, "all nodes are stopped"
	case len(down) > 0:
		info.State = Partial
		info.Reason = fmt.Sprintf("%s stopped: %s", plural(len(down), "node is", "nodes are"), strings.Join(down, ", "))
	default:
		info.State = Running
	}
	return info
}

// missing lists the nodes of the record that are not there. Without a record
// only a control plane can be known to be missing.
func missing(have []string, rec *record) []string {
	var want []string
	if rec != nil {
		want = rec.Nodes
	} else if len(have) > 0 && !slices.ContainsFunc(have, func(n string) bool { return strings.Contains(n, "-control-plane") }) {
		want = []string{"the control plane"}
	}
	return slices.DeleteFunc(slices.Clone(want), func(n string) bool { return slices.Contains(have, n) })
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// ControlErr is Err, but for a cluster that lacks workers alone: its API server
// answers.
func (i Info) ControlErr() error {
	down := func(n Node) bool { return n.Role == roleControlPlane && !n.Running() }
	if i.State == Partial && !slices.ContainsFunc(i.Nodes, down) {
		return nil
	}
	return i.Err()
}

// Err is nil for a cluster whose nodes all run, and otherwise a Problem that
// says what it lacks and how to get it back.
func (i Info) Err() error {
	switch i.State {
	case Running:
		return nil
	case Absent:
		return absent(i.Name)
	case Unfinished:
		return problem.New(fmt.Sprintf("cluster %q is not finished", i.Name), fmt.Errorf("%s", i.Reason), "berth cluster create "+i.Name)
	case Incomplete:
		return problem.New(fmt.Sprintf("cluster %q is not whole", i.Name), fmt.Errorf("%s", i.Reason),
			fmt.Sprintf("it cannot be mended; `berth cluster delete %s`, then create it again", i.Name))
	default:
		return problem.New(fmt.Sprintf("cluster %q does not run", i.Name), fmt.Errorf("%s", i.Reason),
			"berth cluster start "+i.Name)
	}
}
