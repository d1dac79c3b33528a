package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// Ports lists the TCP ports on which programs in a running container's network
// accept connections; those that the kernel hands out by itself are left out.
func (n *Node) Ports(ctx context.Context, container string) ([]int, error) {
	var v wire.PortsValue
	err := n.once(ctx, wire.OpPorts, wire.PortsArgs{Container: container}, nil, nil, &v)
	return v.Ports, err
}

// Successor names the container that takes the place of another in its pod.
type Successor struct {
	Namespace, Pod, Container string
	Not                       string // containerd id of the one whose place it takes
	Ports                     []int  // TCP ports on which its program must listen
}

// ErrEnded is a container that has ended as soon as it had started.
var ErrEnded = errors.New("the container has ended at once")

// AwaitSuccessor returns the containerd id of a container as soon as it runs and its
// program listens, long before the API server hears of it. It fails with
// ErrEnded when the program ends before that.
func (n *Node) AwaitSuccessor(ctx context.Context, s Successor) (string, error) {
	var v wire.SuccessorValue
	err := n.once(ctx, wire.OpSuccessor, wire.SuccessorArgs(s), nil, nil, &v)
	if err == nil && v.Ended {
		err = fmt.Errorf("container %q of pod %q: %w", s.Container, s.Pod, ErrEnded)
	}
	return v.Container, err
}
