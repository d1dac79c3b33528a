package devloop

import (
	"context"
	"errors"
	"testing"
)

func TestWhatTheEndCutsShortIsNotSaidToServe(t *testing.T) {
	s := newSession(t, nil)
	s.set(s.restarting(1))
	deps := s.deps(s.project)
	deps.Events, deps.Syncer = s.event, s.syncer
	l := newLoop(New(deps), DevOptions{})
	var err error
	if l.want, _, err = l.e.prepare(t.Context(), UpOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	flight := &trip{dirt: map[string]dirt{"web": {rerun: true}}}
	l.launch(flight, Dirty{Sync: map[string]SyncWork{"web": {Restart: true}}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if done, err := l.advance(ctx); !done || !errors.Is(err, context.Canceled) {
		t.Errorf("done %v, error %v", done, err)
	}
	if len(s.events) > 0 {
		t.Errorf("events of a restart that was never begun:\n%s", s.eventText())
	}
}
