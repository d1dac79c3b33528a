package image

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// A gate lets one through at a time.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// enter waits for its turn. Whoever has entered leaves.
func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// A seenNode is what this process has seen of a node's layers, so that loads of
// several images ask once and do not send a layer that they share twice.
type seenNode struct {
	asking  gate // held by whoever asks what the node has
	sending gate // held by whoever decides what the node lacks, and sends it

	mu        sync.Mutex
	snapshots map[digest.Digest]bool // chain IDs, never changed in place; nil for not known
	asked     time.Time              // when the node was asked for them
}

// seen is what this process has seen of a node.
func (i *Images) seen(node Node) *seenNode {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.nodes[node.Name()]
	if s == nil {
		s = &seenNode{asking: newGate(), sending: newGate()}
		i.nodes[node.Name()] = s
	}
	return s
}

// ask lists the layers that a node has. What was seen before is used if enough
// says so; it is told what that was, and when the node was asked.
func (s *seenNode) ask(ctx context.Context, node Node, enough func(had map[digest.Digest]bool, asked time.Time) bool) (map[digest.Digest]bool, error) {
	if err := s.asking.enter(ctx); err != nil {
		return nil, err
	}
	defer s.asking.leave()
	if had, asked := s.known(); had != nil && enough(had, asked) {
		return had, nil
	}
	now := time.Now()
	got, err := node.Snapshots(ctx)
	if err == nil {
		s.set(got, now)
	}
	return got, err
}

// never is for whoever has to know what a node has now.
func never(map[digest.Digest]bool, time.Time) bool { return false }

func (s *seenNode) known() (map[digest.Digest]bool, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshots, s.asked
}

func (s *seenNode) set(snapshots map[digest.Digest]bool, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots, s.asked = snapshots, asked
}

// add notes that the node has layers now.
func (s *seenNode) add(chain []digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshots == nil {
		return // what else there is has yet to be asked
	}
	s.snapshots = maps.Clone(s.snapshots)
	for _, id := range chain {
		s.snapshots[id] = true
	}
}

// forget is for a node that turned out to lack what was seen.
func (s *seenNode) forget() { s.set(nil, time.Time{}) }
