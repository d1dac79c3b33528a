package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// Signal sends a signal ("HUP", "USR1", a number) to the first process of a
// running container of this node.
func (n *Node) Signal(ctx context.Context, container, signal string) error {
	return n.once(ctx, wire.OpSignal, wire.SignalArgs{Container: container, Signal: signal}, nil, nil, nil)
}

// Process is a process of a container.
type Process = wire.Process

// Processes lists the processes of a running container, by number.
func (n *Node) Processes(ctx context.Context, container string) ([]Process, error) {
	raw, err := n.ask(ctx, wire.OpProcesses, wire.ProcessesArgs{Container: container})
	if err != nil {
		return nil, err
	}
	var list []Process
	for lines := json.NewDecoder(bytes.NewReader(raw)); ; {
		var p Process
		if err := lines.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("node %q: a process that is not JSON: %w", n.name, err)
		}
		list = append(list, p)
	}
}
