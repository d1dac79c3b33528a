package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent/checkpoint"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// CheckpointCreated is the checkpoint that `cluster reset` goes back to: the
// one that is taken after the creation of a cluster.
const CheckpointCreated = "created"

// Labels of the volumes that hold checkpoints. A checkpoint is one volume with
// a folder for every node, and a second, empty one whose label is the record:
// made last, it is the sign that the checkpoint is complete.
const (
	labelCheckpoint       = "dev.berth.checkpoint"      // the cluster
	labelCheckpointName   = "dev.berth.checkpoint.name" // the checkpoint
	labelCheckpointRecord = "dev.berth.checkpoint.record"
)

// A Checkpoint is the saved state of all nodes of a cluster: etcd, images and
// volumes. It can only be brought back to the very nodes it was taken from.
type Checkpoint struct {
	Name       string            `json:"name"`
	Cluster    string            `json:"cluster"`
	Created    time.Time         `json:"created"`
	Kubernetes string            `json:"kubernetes"`
	Nodes      map[string]string `json:"nodes"`  // the volume of each node's state
	Copied     int64             `json:"copied"` // bytes; what else there is are layers, shared with the nodes
	Linked     int               `json:"linked"` // files that are shared
	Frozen     float64           `json:"frozenSeconds"`
	Unready    []string          `json:"unready,omitempty"` // namespace/name of the pods that were not ready
	Stale      bool              `json:"stale,omitempty"`   // of an earlier cluster of that name: of no use
}

var validCheckpoint = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)

// CheckCheckpointName returns a Problem when a checkpoint cannot have the name.
func CheckCheckpointName(name string) error {
	if !validCheckpoint.MatchString(name) {
		return problem.New(fmt.Sprintf("%q cannot be the name of a checkpoint", name), nil,
			"use at most 63 lower-case letters, digits, dots and dashes, beginning with a letter or digit")
	}
	return nil
}

// volumeName and recordName are unambiguous: neither name can have an underscore.
func volumeName(cluster, name string) string { return "berth-checkpoint_" + cluster + "_" + name }
func recordName(cluster, name string) string { return volumeName(cluster, name) + "_record" }

// Checkpoints lists the complete checkpoints of a cluster, oldest first.
func (m *Manager) Checkpoints(ctx context.Context, cluster string) ([]Checkpoint, error) {
	volumes, err := m.engine.Volumes(ctx, labelCheckpoint+"="+cluster, labelCheckpointRecord)
	if err != nil || len(volumes) == 0 {
		return []Checkpoint{}, err
	}
	nodes, err := m.Nodes(ctx, cluster)
	if err != nil {
		return nil, err
	}
	have, err := m.stateVolumes(ctx, nodes)
	if err != nil {
		return nil, err
	}
	found := []Checkpoint{}
	for _, v := range volumes {
		var c Checkpoint
		if err := json.Unmarshal([]byte(v.Labels[labelCheckpointRecord]), &c); err != nil {
			return nil, fmt.Errorf("read the record of checkpoint volume %q: %w", v.Name, err)
		}
		c.Stale = !sameVolumes(c.Nodes, have)
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b Checkpoint) int { return a.Created.Compare(b.Created) })
	return found, nil
}

// Checkpoint finds one complete checkpoint.
func (m *Manager) Checkpoint(ctx context.Context, cluster, name string) (Checkpoint, error) {
	all, err := m.Checkpoints(ctx, cluster)
	if err != nil {
		return Checkpoint{}, err
	}
	var names []string
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return Checkpoint{}, problem.New(fmt.Sprintf("cluster %q has no checkpoint", cluster), nil,
			"berth cluster checkpoint create NAME --cluster "+cluster+" takes one of how it is now")
	}
	return Checkpoint{}, problem.New(fmt.Sprintf("cluster %q has no checkpoint %q", cluster, name), nil, "it has: "+strings.Join(names, ", "))
}

// DeleteCheckpoint removes a checkpoint, complete or not.
func (m *Manager) DeleteCheckpoint(ctx context.Context, cluster, name string, sink progress.Sink) error {
	if err := CheckCheckpointName(name); err != nil {
		return err
	}
	return m.change(ctx, cluster, "deleting checkpoint "+name, sink, func(_ *narrator, l *lock) (string, error) {
		if l.was.Restoring == name {
			return "", problem.New(fmt.Sprintf("delete checkpoint %q", name), errors.New("its restore was interrupted and needs it"),
				"finish that first: berth cluster start "+cluster)
		}
		left, err := m.engine.Volumes(ctx, labelCheckpoint+"="+cluster, labelCheckpointName+"="+name)
		if err != nil {
			return "", err
		}
		if len(left) == 0 {
			_, err := m.Checkpoint(ctx, cluster, name)
			return "", err
		}
		if err := m.clearHelpers(ctx, cluster); err != nil {
			return "", err
		}
		return "checkpoint " + name + " deleted", m.removeCheckpoint(ctx, cluster, name)
	})
}

// removeCheckpoint takes the record first: what is left without one is nobody's.
func (m *Manager) removeCheckpoint(ctx context.Context, cluster, name string) error {
	if err := m.engine.RemoveVolume(ctx, recordName(cluster, name)); err != nil {
		return err
	}
	return m.engine.RemoveVolume(ctx, volumeName(cluster, name))
}

// removeCheckpoints removes the checkpoints of a cluster that keep chooses to
// let go, complete or not.
func (m *Manager) removeCheckpoints(ctx context.Context, cluster string, drop func(complete bool) bool) error {
	volumes, err := m.engine.Volumes(ctx, labelCheckpoint+"="+cluster)
	if err != nil {
		return err
	}
	complete := map[string]bool{}
	for _, v := range volumes {
		name := v.Labels[labelCheckpointName]
		complete[name] = complete[name] || v.Labels[labelCheckpointRecord] != ""
	}
	for name, whole := range complete {
		if drop(whole) {
			err = errors.Join(err, m.removeCheckpoint(ctx, cluster, name))
		}
	}
	return err
}

// clearInterrupted removes what a command on checkpoints that was killed left:
// its helper, frozen nodes, half a checkpoint.
func (m *Manager) clearInterrupted(ctx context.Context, cluster string, nodes []Node) error {
	if err := m.clearHelpers(ctx, cluster); err != nil {
		return err
	}
	if err := m.thaw(ctx, nodes); err != nil {
		return err
	}
	return m.removeCheckpoints(ctx, cluster, func(complete bool) bool { return !complete })
}

// thaw lets frozen nodes go on.
func (m *Manager) thaw(ctx context.Context, nodes []Node) error {
	return each(nodes, func(n Node) error {
		if !n.frozen() {
			return nil
		}
		if err := m.engine.UnpauseContainer(ctx, n.ID); err != nil {
			return problem.New(fmt.Sprintf("let node %q go on", n.Name), err, "docker unpause "+n.Name)
		}
		return nil
	})
}

// stateVolumes are the volumes that hold the state of the nodes, by node.
func (m *Manager) stateVolumes(ctx context.Context, nodes []Node) (map[string]docker.Volume, error) {
	found := map[string]docker.Volume{}
	for _, n := range nodes {
		if !n.Kubernetes() {
			continue
		}
		v, err := m.engine.VolumeAt(ctx, n.ID, "/var")
		if err != nil {
			return nil, fmt.Errorf("find the state of node %q: %w", n.Name, err)
		}
		found[n.Name] = v
	}
	return found, nil
}

func sameVolumes(recorded map[string]string, have map[string]docker.Volume) bool {
	if len(recorded) != len(have) {
		return false
	}
	for node, volume := range recorded {
		if have[node].Name != volume {
			return false
		}
	}
	return true
}

// spaceHint is the advice on a full disk.
const spaceHint = docker.FreeSpace + ", or delete checkpoints: berth cluster checkpoint delete NAME"

// failure is what the helper's last message says went wrong.
func failure(what string, m checkpoint.Message) error {
	err := errors.New(m.Error)
	if m.Need > 0 {
		return problem.New(what, err, spaceHint)
	}
	if strings.Contains(m.Error, "no space left on device") {
		return problem.New(what, err, spaceHint)
	}
	return fmt.Errorf("%s: %w", what, err)
}
