package cli

import (
	"context"
	"sync/atomic"
)

// superseded counts builds that later ones took the place of in `dev`, and says
// when they are to go: when the loop rests, for the next save had better not
// share the machine with their removal, and before they pile up.
type superseded struct {
	count atomic.Int32
	due   chan struct{} // has room for one
}

// pileOf is how many superseded builds are removed though the loop does not rest.
const pileOf = 10

// add counts one more.
func (b *superseded) add() {
	if b.count.Add(1) >= pileOf {
		b.ask()
	}
}

// rest says that the loop rests.
func (b *superseded) rest() {
	if b.count.Load() > 0 {
		b.ask()
	}
}

func (b *superseded) ask() {
	select {
	case b.due <- struct{}{}:
	default: // it is asked for already
	}
}

// pruneBuilds removes superseded builds whenever it is time, until ctx ends.
func (v *devView) pruneBuilds(ctx context.Context, s *session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.builds.due:
			v.builds.count.Store(0)
			if err := s.prune(ctx); err != nil && ctx.Err() == nil {
				v.console.Line("prune images: " + err.Error())
			}
		}
	}
}
