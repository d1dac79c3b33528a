package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/agent/wire"
	"github.com/berth-dev/berth/infra/docker"
)

// Node is the agent of one node. It is safe for concurrent use and connects
// again by itself when the node or the engine has been restarted.
type Node struct {
	name string
	open func(ctx context.Context) (*wire.Client, error) // starts the agent

	turn   chan struct{} // held while connecting: one at a time
	broken time.Time     // when the connection was found broken; zero while it is not. Whoever has turn may use it

	mu      sync.Mutex
	session *wire.Client // nil before there was one
	closed  bool
}

// Connect starts the agent in the container of a node, after putting its binary
// there if it is missing or another one. Close ends it.
func Connect(ctx context.Context, engine *docker.Client, node string) (*Node, error) {
	return connect(ctx, node, container{engine, node}.open)
}

// hello is how long an agent may take to say hello over streams that others dialed.
const hello = 10 * time.Second

// ConnectOver is Connect for an agent that somebody else has put onto the node:
// dial starts its `serve` and returns the streams of that, which end with Close.
func ConnectOver(ctx context.Context, node string, dial func(ctx context.Context) (io.ReadWriteCloser, error)) (*Node, error) {
	return connect(ctx, node, func(ctx context.Context) (*wire.Client, error) {
		stream, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, hello, errSilent)
		defer cancel()
		return wire.NewClient(ctx, stream)
	})
}

func connect(ctx context.Context, node string, open func(context.Context) (*wire.Client, error)) (*Node, error) {
	n := &Node{name: node, open: open, turn: make(chan struct{}, 1)}
	if _, err := n.connected(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// Name is the name of the node and, where berth made that, of its container.
func (n *Node) Name() string { return n.name }

// Close ends the agent; calls that are under way fail.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.session == nil {
		return nil
	}
	return n.session.Close()
}

var errClosed = errors.New("the agent has been closed")

// current returns the session, nil when there is none, and whether there was one
// that has broken.
func (n *Node) current() (session *wire.Client, broken bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, false, errClosed
	}
	if n.session == nil {
		return nil, false, nil
	}
	select {
	case <-n.session.Done():
		return nil, true, nil
	default:
		return n.session, false, nil
	}
}

// ErrAway is a node that does not answer any more.
var ErrAway = errors.New("it does not answer")

var errSilent = fmt.Errorf("the agent says nothing for %s", hello)

// patience is how long a node that has answered before is waited for, in all.
const patience = 15 * time.Second

// connected returns the session, a new one if the last has broken. A node that
// may be on its way up is asked again, ever more slowly, until it has been away for
// a while; who asks later learns at once that it is ErrAway.
func (n *Node) connected(ctx context.Context) (*wire.Client, error) {
	if session, _, err := n.current(); session != nil || err != nil {
		return session, err
	}
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		session, broken, err := n.current()
		if session != nil || err != nil {
			return session, err
		}
		if session, err = n.open(ctx); err == nil {
			n.broken = time.Time{}
			return n.use(session)
		}
		switch {
		case !broken: // what never worked is reported at once
			return nil, fmt.Errorf("node %q: %w", n.name, err)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case n.broken.IsZero():
			n.broken = time.Now()
		case time.Since(n.broken) > patience:
			return nil, fmt.Errorf("node %q: %w: %w", n.name, ErrAway, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// use makes a new session that of the node, unless that was closed meanwhile.
func (n *Node) use(session *wire.Client) (*wire.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errors.Join(errClosed, session.Close())
	}
	n.session = session
	return session, nil
}

// Ping returns when the agent has answered.
func (n *Node) Ping(ctx context.Context) error {
	_, err := n.ask(ctx, wire.OpPing, nil)
	return err
}

// ask has the node carry out an operation that may be carried out twice, and
// returns its output. When the connection breaks it asks once more.
func (n *Node) ask(ctx context.Context, op string, args any) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		var out bytes.Buffer
		err := n.once(ctx, op, args, nil, &out, nil)
		if attempt > 0 || !errors.Is(err, wire.ErrConnection) {
			return out.Bytes(), err
		}
	}
}

// once has the node carry out an operation, connecting first if it must.
func (n *Node) once(ctx context.Context, op string, args any, body io.Reader, output io.Writer, value any) error {
	session, err := n.connected(ctx)
	if err != nil {
		return err
	}
	if err := session.Call(ctx, op, args, body, output, value); err != nil {
		return fmt.Errorf("node %q: %w", n.name, err)
	}
	return nil
}
