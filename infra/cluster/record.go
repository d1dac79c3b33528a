package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// recordPath is where every node keeps the record: kind's own folder, which
// all node images have, and which can be read while the node is stopped.
const recordPath = "/kind/berth.json"

// A record is what berth notes in every node once kind is done with all of
// them: the sign that the cluster is whole and berth's own. Nodes without it
// were left by an interrupted creation or belong to somebody else.
type record struct {
	Spec       Spec      `json:"spec"`
	Kubernetes string    `json:"kubernetes"`
	Nodes      []string  `json:"nodes"`
	Created    time.Time `json:"created"`
}

// writeRecord notes r in every node, has the engine start the nodes again with
// itself, and sets up what they need besides kind.
func (m *Manager) writeRecord(ctx context.Context, r record) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	nodes, err := m.Nodes(ctx, r.Spec.Name)
	if err != nil {
		return err
	}
	return each(nodes, func(n Node) error {
		if err := m.engine.SetRestartPolicy(ctx, n.ID, "unless-stopped"); err != nil {
			return fmt.Errorf("set the restart policy of node %q: %w", n.Name, err)
		}
		if !n.Kubernetes() {
			return nil
		}
		if err := m.engine.WriteFile(ctx, n.ID, recordPath, 0o644, append(text, '\n')); err != nil {
			return fmt.Errorf("note the cluster's settings in node %q: %w", n.Name, err)
		}
		return m.addUnits(ctx, n)
	})
}

// readRecord reads the record from the first node that has it; nil when none
// does.
func (m *Manager) readRecord(ctx context.Context, nodes []Node) (*record, error) {
	for _, n := range nodes {
		if !n.Kubernetes() {
			continue
		}
		text, err := m.engine.ReadFile(ctx, n.ID, recordPath)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the cluster's settings from node %q: %w", n.Name, err)
		}
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("the cluster's settings in node %q: %w", n.Name, err)
		}
		return &r, nil
	}
	return nil, nil
}
