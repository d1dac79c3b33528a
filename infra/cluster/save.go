package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/agent/checkpoint"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Save takes a checkpoint of a cluster. The nodes are frozen, all at once,
// while their state is copied: to every process on them it is as if the
// machines had lost power at that moment, which etcd and databases are made
// for. Interrupted, it leaves no checkpoint; nodes that a killed Save left
// frozen go on with the next command.
func (m *Manager) Save(ctx context.Context, cluster, name string, sink progress.Sink) (Checkpoint, error) {
	var made Checkpoint
	if err := CheckCheckpointName(name); err != nil {
		return made, err
	}
	err := m.change(ctx, cluster, "taking checkpoint "+name, sink, func(n *narrator, _ *lock) (string, error) {
		var err error
		if made, err = m.save(ctx, cluster, name, n); err != nil {
			return "", err
		}
		return fmt.Sprintf("checkpoint %s taken, %d MB copied, nodes frozen for %.1f s", name, made.Copied>>20, made.Frozen), nil
	})
	return made, err
}

func (m *Manager) save(ctx context.Context, cluster, name string, n *narrator) (_ Checkpoint, err error) {
	info, err := m.ownedCluster(ctx, cluster)
	if err != nil {
		return Checkpoint{}, err
	}
	if info.State == Unfinished {
		return Checkpoint{}, info.Err()
	}
	if err := m.clearInterrupted(ctx, cluster, info.Nodes); err != nil {
		return Checkpoint{}, err
	}
	if info, err = m.Status(ctx, cluster); err != nil {
		return Checkpoint{}, err
	}
	existing, err := m.Checkpoints(ctx, cluster)
	if err != nil {
		return Checkpoint{}, err
	}
	if slices.ContainsFunc(existing, func(c Checkpoint) bool { return c.Name == name }) {
		return Checkpoint{}, problem.New(fmt.Sprintf("cluster %q has a checkpoint %q already", cluster, name), nil,
			fmt.Sprintf("choose another name, or delete it first: berth cluster checkpoint delete %s --cluster %s", name, cluster))
	}
	volumes, err := m.stateVolumes(ctx, info.Nodes)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Name: name, Cluster: cluster, Kubernetes: info.Kubernetes, Nodes: map[string]string{}}
	for node, v := range volumes {
		c.Nodes[node] = v.Name
	}
	if info.State == Running {
		if c.Unready, err = m.unreadyPods(ctx, cluster); err != nil {
			return Checkpoint{}, err
		}
	}
	h, err := m.startHelper(ctx, cluster, info.Nodes[0].Image, volumes)
	if err != nil {
		return Checkpoint{}, err
	}
	defer func() { err = errors.Join(err, h.remove(ctx)) }()
	labels := map[string]string{labelCheckpoint: cluster, labelCheckpointName: name}
	store, err := m.engine.CreateVolume(ctx, volumeName(cluster, name), labels)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := m.fill(ctx, h, store, info.Nodes, &c, n); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return Checkpoint{}, errors.Join(err, h.remove(clean), m.engine.RemoveVolume(clean, store.Name))
	}
	record, err := json.Marshal(c)
	if err != nil {
		return Checkpoint{}, err
	}
	labels[labelCheckpointRecord] = string(record)
	_, err = m.engine.CreateVolume(ctx, recordName(cluster, name), labels)
	return c, err
}

// fill freezes the nodes, has the helper copy their state, and lets them go on.
func (m *Manager) fill(ctx context.Context, h *helper, store docker.Volume, nodes []Node, c *Checkpoint, n *narrator) (err error) {
	where, err := m.inHelper(ctx, store)
	if err != nil {
		return err
	}
	running := slices.DeleteFunc(slices.Clone(nodes), func(node Node) bool { return !node.Running() })
	n.say("freezing the nodes to copy their state")
	var frozen time.Time
	thaw := func() error {
		if frozen.IsZero() {
			return nil
		}
		c.Frozen = time.Since(frozen).Seconds()
		frozen = time.Time{}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return each(running, func(node Node) error { return m.engine.UnpauseContainer(clean, node.ID) })
	}
	frozen = time.Now()
	defer func() { err = errors.Join(err, thaw()) }()
	if err := each(running, func(node Node) error { return m.engine.PauseContainer(ctx, node.ID) }); err != nil {
		return fmt.Errorf("freeze the nodes: %w", err)
	}
	c.Created = time.Now()
	heard := 0
	var thawed error
	err = h.run(ctx, "copy the state of the nodes", "save", where, func(message checkpoint.Message) {
		if message.Phase != checkpoint.PhaseCopied {
			return
		}
		c.Copied += message.Copied
		c.Linked += message.Linked
		if heard++; heard == len(c.Nodes) { // the rest is writing it to the disk
			thawed = thaw()
		}
	})
	return errors.Join(err, thawed)
}

// inHelper is where helpers see a volume's data.
func (m *Manager) inHelper(ctx context.Context, v docker.Volume) (string, error) {
	host, err := m.engine.HostFacts(ctx)
	if err != nil {
		return "", err
	}
	return insideHelper(path.Join(host.StorageRoot, "volumes"), v)
}

// ownedCluster describes a cluster that is whole and berth's own.
func (m *Manager) ownedCluster(ctx context.Context, cluster string) (Info, error) {
	info, err := m.Status(ctx, cluster)
	switch {
	case err != nil:
		return info, err
	case info.State == Absent, info.State == Incomplete:
		return info, info.Err()
	case !info.Owned:
		return info, problem.New(fmt.Sprintf("take or restore checkpoints of cluster %q", cluster),
			errors.New("berth did not create it"), "berth cluster create makes one of berth's own")
	}
	return info, nil
}

// unreadyPods lists the pods that should be ready and are not.
func (m *Manager) unreadyPods(ctx context.Context, cluster string) (_ []string, err error) {
	file, remove, err := m.tempKubeconfig(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	client, err := kube.New(file, "")
	if err != nil {
		return nil, err
	}
	pods, err := kube.List[corev1.Pod](ctx, client, "", "")
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range pods {
		if p := &pods[i]; expected(p) && !readySince(p, time.Time{}) {
			names = append(names, p.Namespace+"/"+p.Name)
		}
	}
	return names, nil
}

// expected reports whether a pod is meant to become ready or stay so.
func expected(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}
