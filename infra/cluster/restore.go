package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// restoreReady is how long the pods of a cluster may take after a restore. What
// is not ready by then is told, no error.
const restoreReady = 3 * time.Minute

// Restore brings a checkpoint back: all nodes as they were, and running. What
// is on them now is lost. Interrupted at any point it leaves either the state
// from before, or a cluster that says that its restore must be finished, which
// Restore, Create and Start all do.
func (m *Manager) Restore(ctx context.Context, cluster, name string, sink progress.Sink) error {
	if err := CheckCheckpointName(name); err != nil {
		return err
	}
	return m.change(ctx, cluster, "restoring checkpoint "+name, sink, func(n *narrator, l *lock) (string, error) {
		if l.was.Restoring != "" && l.was.Restoring != name {
			n.say("another checkpoint was being restored; this one takes its place")
		}
		return "checkpoint " + name + " restored", m.restore(ctx, cluster, name, n, l, sink)
	})
}

func (m *Manager) restore(ctx context.Context, cluster, name string, n *narrator, l *lock, sink progress.Sink) (err error) {
	info, err := m.ownedCluster(ctx, cluster)
	if err != nil {
		return err
	}
	if err := m.clearInterrupted(ctx, cluster, info.Nodes); err != nil {
		return err
	}
	c, err := m.Checkpoint(ctx, cluster, name)
	if err != nil {
		return err
	}
	if c.Stale {
		return problem.New(fmt.Sprintf("restore checkpoint %q", name), errors.New("it was taken from an earlier cluster of that name"),
			fmt.Sprintf("berth cluster checkpoint delete %s --cluster %s", name, cluster))
	}
	volumes, err := m.stateVolumes(ctx, info.Nodes)
	if err != nil {
		return err
	}
	n.say("preparing the nodes' state")
	h, err := m.startHelper(ctx, cluster, info.Nodes[0].Image, volumes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.remove(ctx)) }()
	started, err := m.swap(ctx, h, c, info.Nodes, n, l)
	if err != nil {
		return err
	}
	if err = m.export(ctx, info.Name); err == nil {
		err = m.started(ctx, specOf(info), started, n)
	}
	// The former state goes while pods wait for their probes: while the nodes start,
	// they need the processors and the disk.
	cleaned := make(chan error, 1)
	go func() { cleaned <- h.run(ctx, "remove the former state", "clean", "-", nil) }()
	if err == nil {
		err = m.awaitReadyAgain(ctx, info.Name, c, started, n, sink)
	}
	return errors.Join(err, <-cleaned)
}

// swap exchanges the state of all nodes and starts them. From when the first
// node may have the new state until the last one has it, the lock file says so.
func (m *Manager) swap(ctx context.Context, h *helper, c Checkpoint, nodes []Node, n *narrator, l *lock) (map[string]time.Time, error) {
	volumes, err := m.engine.Volumes(ctx, labelCheckpoint+"="+c.Cluster, labelCheckpointName+"="+c.Name)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(volumes, func(v docker.Volume) bool { return v.Name == volumeName(c.Cluster, c.Name) })
	if at < 0 {
		return nil, problem.New(fmt.Sprintf("restore checkpoint %q", c.Name), errors.New("its volume is gone"),
			fmt.Sprintf("berth cluster checkpoint delete %s --cluster %s", c.Name, c.Cluster))
	}
	store, err := m.inHelper(ctx, volumes[at])
	if err != nil {
		return nil, err
	}
	if l.was.Restoring != c.Name { // what another restore prepared is of no use
		if err := h.run(ctx, "remove what an interrupted restore left", "forget", "-", nil); err != nil {
			return nil, err
		}
	}
	if err := m.prepareState(ctx, h, store, c, l); err != nil {
		return nil, err
	}
	n.say("stopping the nodes")
	if err := each(nodes, func(node Node) error { return m.engine.KillContainer(ctx, node.ID) }); err != nil {
		return nil, err
	}
	if err := m.awaitStopped(ctx, c.Cluster, nodes); err != nil {
		return nil, err
	}
	if err := h.run(ctx, "put the nodes' state in place", "swap", "-", nil); err != nil {
		return nil, err
	}
	if err := l.note(intent{}); err != nil {
		return nil, err
	}
	if nodes, err = m.Nodes(ctx, c.Cluster); err != nil {
		return nil, err
	}
	return m.startNodes(ctx, nodes, n)
}

// prepareState builds the nodes' state beside their own, and notes that it is to take
// its place. When that goes wrong it leaves nothing on the disk, but for what an
// earlier restore of the checkpoint needs that was interrupted half way.
func (m *Manager) prepareState(ctx context.Context, h *helper, store string, c Checkpoint, l *lock) error {
	err := h.run(ctx, "prepare the nodes' state", "prepare", store, nil)
	var host docker.Host
	if err == nil {
		host, err = m.engine.HostFacts(ctx)
	}
	if err == nil {
		err = l.note(intent{Engine: host.EngineID, Restoring: c.Name})
	}
	if err == nil || l.was.Restoring == c.Name {
		return err
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	cleanErr := h.interrupt(clean) // a Ctrl-C has not ended what it does
	if cleanErr == nil {
		cleanErr = h.run(clean, "remove what was prepared", "forget", "-", nil)
	}
	return errors.Join(err, cleanErr)
}

// awaitReadyAgain waits until the pods of a restored cluster are as ready as they
// were.
func (m *Manager) awaitReadyAgain(ctx context.Context, cluster string, c Checkpoint, started map[string]time.Time, n *narrator, sink progress.Sink) (err error) {
	file, remove, err := m.tempKubeconfig(ctx, cluster)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	limited, cancel := context.WithTimeout(ctx, restoreReady)
	defer cancel()
	b := newBoard(n, now())
	err = wait(limited, cluster, file, b, func(client *kube.Client) []condition {
		return []condition{podsReadyAgain(client, c.Unready, started)}
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		progress.Say(sink, progress.Warn, "cluster "+cluster, "not ready after "+restoreReady.String()+": "+b.text())
		return nil
	}
	return err
}

// podsReadyAgain holds when every pod of the cluster is ready since its node was
// started, but for those that were not ready before either.
func podsReadyAgain(c *kube.Client, unready []string, since map[string]time.Time) condition {
	return func(ctx context.Context, lacks func(string)) error {
		return until(ctx, c, "", "", lacks, func(pods map[string]*corev1.Pod) string {
			var not []string
			for key, p := range pods {
				if expected(p) && !slices.Contains(unready, key) && !readySince(p, since[p.Spec.NodeName]) {
					not = append(not, key)
				}
			}
			slices.Sort(not)
			const most = 5
			if len(not) > most {
				not = append(not[:most], fmt.Sprintf("%d more", len(not)-most))
			}
			return strings.Join(not, ", ")
		})
	}
}
