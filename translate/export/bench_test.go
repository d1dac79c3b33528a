package export

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// largeProject writes a compose file of n services as people write them into a
// new directory. In a chain each depends on the one before, in a diamond on
// both of the layer before.
func largeProject(t testing.TB, shape string, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: large\nservices:\n")
	for i := range n {
		fmt.Fprintf(&b, `  service-%[1]d:
    image: registry.example.com/team/app-%[1]d:1.%[1]d
    restart: unless-stopped
    environment:
      - LOG_LEVEL=${LOG_LEVEL:-info}
      - SERVICE_NAME=service-%[1]d
      - DATABASE_URL=postgres://user:pass@db:5432/app
    ports: ["%[2]d:8080"]
    volumes:
      - data-%[1]d:/var/lib/data
    labels:
      com.example.team: platform
    healthcheck:
      test: ["CMD", "wget", "-qO-", "http://localhost:8080/health"]
      interval: 10s
    deploy:
      resources:
        limits: {cpus: "0.5", memory: 128M}
    networks: [back]
`, i, 10000+i)
		for _, d := range dependencies(shape, i) {
			if d == dependencies(shape, i)[0] {
				b.WriteString("    depends_on:\n")
			}
			fmt.Fprintf(&b, "      service-%d: {condition: service_healthy}\n", d)
		}
	}
	b.WriteString("networks: {back: {}}\nvolumes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  data-%d: {}\n", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dependencies(shape string, i int) []int {
	switch {
	case shape == "chain" && i > 0:
		return []int{i - 1}
	case shape == "diamond" && i >= 2:
		return []int{i/2*2 - 2, i/2*2 - 1}
	}
	return nil
}

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
	for _, shape := range []string{"flat", "chain", "diamond"} {
		for _, n := range []int{10, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				dir := largeProject(b, shape, n)
				b.ReportAllocs()
				for b.Loop() {
					readTranslateWrite(b, dir)
				}
			})
		}
	}
}

// The bound of a thousand services is 150 MB, of a process that does nothing
// else and whose collector is told of the bound as berth's is.
func TestAThousandServicesFitInTheirMemory(t *testing.T) {
	dir := largeProject(t, "diamond", 1000)
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
