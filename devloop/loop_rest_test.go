package devloop

import (
	"runtime"
	"testing"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
)

// A hastyClock lets the loop rest at once.
type hastyClock struct{ watch.SystemClock }

func (c hastyClock) NewTimer(d time.Duration) watch.Timer {
	if d == restFor {
		d = 0
	}
	return c.SystemClock.NewTimer(d)
}

func forcedCollections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}

func TestLoopAtRestGivesMemoryBack(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.clock = hastyClock{}
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	before := forcedCollections()
	rested := make(chan struct{}, 1)
	s.dev(DevOptions{OnRest: func() {
		select {
		case rested <- struct{}{}:
		default:
		}
	}})
	s.up()
	select {
	case <-rested:
	case <-time.After(testPatience):
		t.Fatal("it did not say that it rests")
	}
	for deadline := time.Now().Add(testPatience); forcedCollections() == before; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never did")
		}
	}
}
