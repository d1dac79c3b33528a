package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// stopGrace is how long a node may take to end its pods before it is killed.
const stopGrace = 15 * time.Second

// Start starts the nodes of a stopped cluster and waits until it can be used.
// One that runs is only waited for.
func (m *Manager) Start(ctx context.Context, name string, sink progress.Sink) (Info, error) {
	var info Info
	err := m.change(ctx, name, "starting", sink, func(n *narrator, l *lock) (string, error) {
		var err error
		if info, err = m.Status(ctx, name); err != nil {
			return "", err
		}
		if info.State == Absent || info.State == Incomplete {
			return "", info.Err()
		}
		if l.was.Restoring != "" {
			if err := m.restore(ctx, name, l.was.Restoring, n, l, sink); err != nil {
				return "", err
			}
			if info, err = m.Status(ctx, name); err != nil {
				return "", err
			}
		}
		started, err := m.startNodes(ctx, info.Nodes, n)
		if err != nil {
			return "", err
		}
		if err := m.export(ctx, name); err != nil {
			return "", err
		}
		if err := m.started(ctx, specOf(info), started, n); err != nil {
			return "", err
		}
		info, err = m.Status(ctx, name)
		return fmt.Sprintf("%d nodes run", len(info.Nodes)), err
	})
	return info, err
}

// started waits until a cluster can be used of which some nodes were started.
func (m *Manager) started(ctx context.Context, s Spec, since map[string]time.Time, n *narrator) (err error) {
	path, remove, err := m.tempKubeconfig(ctx, s.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return m.waitReady(ctx, s, since, path, newBoard(n, now()))
}

// startedNode waits for one node that was started.
func (m *Manager) startedNode(ctx context.Context, cluster, node string, since map[string]time.Time, n *narrator) (err error) {
	path, remove, err := m.tempKubeconfig(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return wait(ctx, cluster, path, newBoard(n, now()), func(c *kube.Client) []condition {
		return []condition{nodesReady(c, []string{node}), podsRestarted(c, since)}
	})
}

// now is a channel that is closed already.
func now() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// specOf is what the cluster was created from, or, of one that berth did not
// create, as much of that as can be seen.
func specOf(info Info) Spec {
	if info.Spec != nil {
		return *info.Spec
	}
	s := Spec{Name: info.Name, Workers: new(0), HTTPPort: info.HTTPPort(), HTTPSPort: info.HTTPSPort()}
	for _, n := range info.Nodes {
		switch n.Role {
		case roleControlPlane:
			s.ControlPlanes++
		case roleWorker:
			*s.Workers++
		}
	}
	return s
}

// Stop stops every node of a cluster. Its state stays on the nodes.
func (m *Manager) Stop(ctx context.Context, name string, sink progress.Sink) error {
	return m.change(ctx, name, "stopping", sink, func(_ *narrator, _ *lock) (string, error) {
		nodes, err := m.Nodes(ctx, name)
		if err != nil {
			return "", err
		}
		if len(nodes) == 0 {
			return "", absent(name)
		}
		// Workers first, so that the API server hears of their pods' ends.
		for _, workers := range []bool{true, false} {
			err := each(nodes, func(node Node) error {
				if (node.Role == roleWorker) != workers || !node.Running() {
					return nil
				}
				return m.stopNode(ctx, node)
			})
			if err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("%d nodes stopped", len(nodes)), m.awaitStopped(ctx, name, nodes)
	})
}

// StartNode starts one node, named in full or without the cluster's name, and
// waits until it is ready.
func (m *Manager) StartNode(ctx context.Context, name, node string, sink progress.Sink) error {
	return m.change(ctx, name, "starting "+node, sink, func(n *narrator, _ *lock) (string, error) {
		found, err := m.node(ctx, name, node)
		if err != nil {
			return "", err
		}
		started, err := m.startNodes(ctx, []Node{found}, n)
		if err != nil || !found.Kubernetes() {
			return found.Name + " runs", err
		}
		return found.Name + " is ready", m.startedNode(ctx, name, found.Name, started, n)
	})
}

// StopNode stops one node as a failing machine would: its pods move elsewhere
// after the grace period.
func (m *Manager) StopNode(ctx context.Context, name, node string, sink progress.Sink) error {
	return m.change(ctx, name, "stopping "+node, sink, func(_ *narrator, _ *lock) (string, error) {
		found, err := m.node(ctx, name, node)
		if err != nil {
			return "", err
		}
		if err := m.stopNode(ctx, found); err != nil {
			return "", err
		}
		return found.Name + " is stopped", m.awaitStopped(ctx, name, []Node{found})
	})
}

// startNodes starts the nodes that do not run, in the order of nodesOf: what
// others look for by address (control planes, the load balancer) before the
// workers. It returns which Kubernetes nodes it started, and when, by the
// engine's clock.
func (m *Manager) startNodes(ctx context.Context, nodes []Node, n *narrator) (map[string]time.Time, error) {
	since := map[string]time.Time{}
	for _, node := range nodes {
		if node.Running() {
			continue
		}
		if node.frozen() {
			if err := m.thaw(ctx, []Node{node}); err != nil {
				return nil, err
			}
			continue
		}
		host, err := m.engine.HostFacts(ctx)
		if err != nil {
			return nil, err
		}
		n.say("starting node " + node.Name)
		if err := m.engine.StartContainer(ctx, node.ID); err != nil {
			return nil, problem.New(fmt.Sprintf("start node %q", node.Name), err, "berth doctor")
		}
		if node.Kubernetes() {
			since[node.Name] = host.Time
		}
	}
	return since, nil
}

// stopNode stops one node's container. An API server whose etcd has ended
// before it waits for it in vain until it is killed, so it is killed at once:
// etcd keeps all of its state.
func (m *Manager) stopNode(ctx context.Context, node Node) error {
	if node.Role == roleControlPlane {
		// A node that is half broken is stopped all the same.
		_, _ = m.engine.Exec(ctx, node.ID, []string{"sh", "-c", "systemctl stop kubelet; pkill -KILL -x kube-apiserver"}, nil, nil, nil)
	}
	if err := m.engine.StopContainer(ctx, node.ID, stopGrace); err != nil {
		return fmt.Errorf("stop node %q: %w", node.Name, err)
	}
	return nil
}

// awaitStopped waits until the engine's list of containers shows what the
// engine has said already.
func (m *Manager) awaitStopped(ctx context.Context, name string, stopped []Node) error {
	for {
		nodes, err := m.Nodes(ctx, name)
		if err != nil {
			return err
		}
		running := slices.ContainsFunc(nodes, func(n Node) bool {
			return n.Running() && slices.ContainsFunc(stopped, func(s Node) bool { return s.ID == n.ID })
		})
		if !running {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
