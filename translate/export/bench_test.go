package export

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// readTranslateWrite is all of `berth translate`.
func readTranslateWrite(t testing.TB, dir string) {
	t.Helper()
	input, _, err := composefile.Read(t.Context(), composefile.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r, err := translate.Translate(input, portable)
	if err != nil {
		t.Fatal(err)
	}
	if err := YAML(io.Discard, r.Objects()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkReadTranslateWrite(b *testing.B) {
	for _, shape := range testneed.Shapes() {
		for _, n := range []int{10, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				dir := testneed.LargeProject(b, shape, n)
				b.ReportAllocs()
				for b.Loop() {
					readTranslateWrite(b, dir)
				}
			})
		}
	}
}

// Four times the services take four times the work, from the file to the last
// manifest, counted in allocations: time on a busy machine says nothing.
func TestCostOfTheWholeWayGrowsLinearly(t *testing.T) {
	cost := func(shape string, n int) float64 {
		dir := testneed.LargeProject(t, shape, n)
		return testing.AllocsPerRun(1, func() { readTranslateWrite(t, dir) })
	}
	for _, shape := range testneed.Shapes() {
		if small, large := cost(shape, 250), cost(shape, 1000); large > 4.4*small {
			t.Errorf("%s: 250 services take %.0f allocations, 1000 take %.0f", shape, small, large)
		}
	}
}

// The bound of a thousand services is 150 MB, of a process that does nothing
// else and whose collector is told of the bound as berth's is.
func TestAThousandServicesFitInTheirMemory(t *testing.T) {
	dir := testneed.LargeProject(t, "diamond", 1000)
	runtime.GC()
	debug.SetMemoryLimit(100 << 20)
	defer debug.SetMemoryLimit(-1)
	var peak uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	}()
	readTranslateWrite(t, dir)
	close(stop)
	<-done
	if peak > 150<<20 {
		t.Errorf("the heap reached %d MiB", peak>>20)
	}
	t.Logf("the heap reached %d MiB", peak>>20)
}
