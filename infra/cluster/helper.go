package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/agent/checkpoint"
	"github.com/berth-dev/berth/infra/docker"
)

// labelHelper is on the containers that work on nodes' state: the cluster.
const labelHelper = "dev.berth.helper"

// helperLife is how long a helper that nobody removes lives, in seconds.
const helperLife = "1800"

// hostVolumes is where a helper sees the engine's folder of volumes. All of
// them are reached through one mount, or files could not be linked.
const hostVolumes = "/volumes"

// A helper is a container that works on the state of nodes, whatever becomes of
// them, on the machine of the engine.
type helper struct {
	engine *docker.Client
	id     string
	nodes  []string // NODE=FOLDER of its volume
}

// startHelper makes a helper for the nodes' volumes. The caller removes it.
func (m *Manager) startHelper(ctx context.Context, cluster, image string, volumes map[string]docker.Volume) (*helper, error) {
	host, err := m.engine.HostFacts(ctx)
	if err != nil {
		return nil, err
	}
	root := path.Join(host.StorageRoot, "volumes")
	h := &helper{engine: m.engine}
	for _, node := range slices.Sorted(maps.Keys(volumes)) {
		inside, err := insideHelper(root, volumes[node])
		if err != nil {
			return nil, err
		}
		h.nodes = append(h.nodes, node+"="+path.Dir(inside))
	}
	h.id, err = m.engine.CreateContainer(ctx, docker.RunSpec{
		Image: image, Entrypoint: []string{"sleep", helperLife}, Privileged: true, Network: "none",
		Binds: []string{root + ":" + hostVolumes}, Labels: map[string]string{labelHelper: cluster}, StopSignal: "SIGKILL",
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(agent.Install(ctx, m.engine, h.id), m.engine.StartContainer(ctx, h.id)); err != nil {
		return nil, errors.Join(err, h.remove(ctx))
	}
	return h, nil
}

// insideHelper is where a helper sees the data of a volume.
func insideHelper(root string, v docker.Volume) (string, error) {
	rest, ok := strings.CutPrefix(v.Mountpoint, root+"/")
	if !ok {
		return "", fmt.Errorf("volume %q is not below the engine's folder of volumes: %s", v.Name, v.Mountpoint)
	}
	return path.Join(hostVolumes, rest), nil
}

// remove ends the helper and whatever it does, even when ctx has ended.
func (h *helper) remove(ctx context.Context) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return h.engine.RemoveContainer(clean, h.id)
}

// interrupt ends what the helper does.
func (h *helper) interrupt(ctx context.Context) error {
	if err := h.engine.StopContainer(ctx, h.id, time.Second); err != nil { // by SIGKILL
		return err
	}
	return h.engine.StartContainer(ctx, h.id)
}

// run has the helper do one thing with store, a folder as the helper sees it,
// and passes on what it says.
func (h *helper) run(ctx context.Context, what, verb, store string, hear func(checkpoint.Message)) error {
	var last checkpoint.Message
	out := &messages{hear: func(m checkpoint.Message) {
		last = m
		if hear != nil {
			hear(m)
		}
	}}
	var errOut bytes.Buffer
	_, err := h.engine.Exec(ctx, h.id, append([]string{agent.Path, "checkpoint", verb, store}, h.nodes...), nil, out, &errOut)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case last.Phase == checkpoint.PhaseDone:
		return nil
	case last.Phase == checkpoint.PhaseFailed:
		return failure(what, last)
	}
	return fmt.Errorf("%s: the helper ended early: %s", what, strings.TrimSpace(errOut.String()))
}

// messages reads the lines that the helper prints.
type messages struct {
	rest []byte
	hear func(checkpoint.Message)
}

// Write takes output as it comes.
func (w *messages) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.rest = rest
		var m checkpoint.Message
		if json.Unmarshal(line, &m) == nil {
			w.hear(m)
		}
	}
}

// clearHelpers ends the helpers that killed commands left.
func (m *Manager) clearHelpers(ctx context.Context, cluster string) error {
	left, err := m.engine.Containers(ctx, labelHelper+"="+cluster)
	if err != nil {
		return err
	}
	return each(left, func(c docker.Container) error { return m.engine.RemoveContainer(ctx, c.ID) })
}
