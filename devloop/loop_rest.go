package devloop

import (
	"runtime/debug"
	"time"
)

// restFor is how long after its last flight the loop counts as at rest.
const restFor = 5 * time.Second

// restLater has the loop rest when nothing else ends until then.
func (l *loop) restLater() {
	if l.rest != nil {
		l.rest.Stop()
	}
	l.rest = l.e.deps.Clock.NewTimer(restFor)
}

// takeRest says that it is time for what nobody waits for, and gives memory
// back: reading, hashing and building a large project leave several times what is
// kept, and nothing collects it while nothing happens.
func (l *loop) takeRest() {
	if l.watcher.Stats().Unhashed > 0 || len(l.flights) > 0 {
		l.restLater()
		return
	}
	if l.opts.OnRest != nil {
		l.opts.OnRest()
	}
	l.workers.group.Go(debug.FreeOSMemory)
}
