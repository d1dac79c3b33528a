package image

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Commands of a node are carried out one by one: one that waits for its turn
// must heed its own context, not that of the one before it.
func TestACommandThatWaitsForItsTurnCanBeGivenUp(t *testing.T) {
	s := newShell(nil, "node")
	s.turn <- struct{}{} // a command that takes long
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.run(ctx, "true")
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
