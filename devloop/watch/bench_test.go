package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bigTree makes n files of some hundred bytes, a hundred to a directory.
func bigTree(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	content := []byte(strings.Repeat("some source text ", 20))
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("d%d/s%d/file%d.go", i/1000, i/100%10, i))
		if i%100 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// packages makes n small files as package managers do: deep down, eight to a
// directory.
func packages(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("node_modules/package-%d/node_modules/dep-%d/dist/esm%d/module-%d.js", i/256, i/32%8, i/8%4, i))
		if i%8 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		if err := os.WriteFile(name, []byte(strconv.Itoa(i)), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// usage returns the CPU time and the resident memory of this process.
func usage(tb testing.TB) (cpu time.Duration, rss int64) {
	tb.Helper()
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		tb.Skip("needs /proc: ", err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+2:]))
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	return time.Duration(number(11)+number(12)) * 10 * time.Millisecond, number(21) * int64(os.Getpagesize())
}

// heap returns the memory that is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkIdle watches 100,000 files for ten seconds in which nothing happens.
func BenchmarkIdle(b *testing.B) {
	b.Run("flat", func(b *testing.B) { benchmarkIdle(b, bigTree) })
	b.Run("packages", func(b *testing.B) { benchmarkIdle(b, packages) })
}

func benchmarkIdle(b *testing.B, layout func(testing.TB, int) string) {
	const files = 100_000
	dir := layout(b, files)
	for b.Loop() {
		empty := heap()
		begin := time.Now()
		editors, err := NewMatcher(dir, Editors())
		if err != nil {
			b.Fatal(err)
		}
		w, err := Start(b.Context(), Config{Roots: []Root{{Path: dir, Ignore: []*Matcher{editors}}}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "start-ms")
		for deadline := time.Now().Add(time.Minute); w.Stats().Unhashed > 0 && time.Now().Before(deadline); {
			<-time.After(50 * time.Millisecond)
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "hashed-ms")
		debug.FreeOSMemory() // as the loop does when it comes to rest
		before, _ := usage(b)
		<-time.After(10 * time.Second)
		after, rss := usage(b)
		b.ReportMetric(float64(after-before)/float64(10*time.Second)*100, "%cpu")
		b.ReportMetric(float64(rss)/(1<<20), "MB-rss")
		b.ReportMetric(float64(heap()-empty)/files, "B/file")
		w.Close()
	}
}

// BenchmarkBranchSwitch rewrites 10,000 of 20,000 files.
func BenchmarkBranchSwitch(b *testing.B) {
	dir := bigTree(b, 20_000)
	w, err := Start(b.Context(), Config{Roots: []Root{{Path: dir}}})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for n := 0; b.Loop(); n++ {
		content := []byte(fmt.Sprint("branch ", n))
		begin := time.Now()
		for i := range 10_000 {
			name := filepath.Join(dir, fmt.Sprintf("d%d/s%d/file%d.go", i/1000, i/100%10, i))
			if err := os.WriteFile(name, content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
		written := time.Now()
		seen, batches := map[string]bool{}, 0
		for len(seen) < 10_000 {
			batch := <-w.Batches()
			batches++
			for _, c := range batch.Changes {
				seen[c.Path] = true
			}
		}
		b.ReportMetric(float64(written.Sub(begin).Milliseconds()), "write-ms")
		b.ReportMetric(float64(time.Since(written).Milliseconds()), "reported-ms")
		b.ReportMetric(float64(batches), "batches")
	}
}

// BenchmarkSave measures from the write of one file among 10,000 to its report.
func BenchmarkSave(b *testing.B) {
	dir := bigTree(b, 10_000)
	w, err := Start(b.Context(), Config{Roots: []Root{{Path: dir}}})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for n := 0; b.Loop(); n++ {
		if err := os.WriteFile(filepath.Join(dir, "d1/s1/new.go"), []byte(strconv.Itoa(n)), 0o644); err != nil {
			b.Fatal(err)
		}
		<-w.Batches()
	}
}
