package composefile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// readText reads a project of one file.
func readText(t testing.TB, content string) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := Read(t.Context(), Options{Dir: dir})
	return err
}

// bomb is a file whose anchors multiply each other.
func bomb(levels, width int) string {
	var b strings.Builder
	b.WriteString("x-0: &x0 [a, b, c]\n")
	for i := 1; i <= levels; i++ {
		fmt.Fprintf(&b, "x-%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), width), ", "))
	}
	return b.String() + "services: {web: {image: x}}\n"
}

func TestAbsurdInputIsRefused(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"alias bomb", bomb(9, 9), "the project has more than 2000000 values"},
		{"deep nesting", "services:\n  web:\n    x-deep: " + strings.Repeat("[", 500) + strings.Repeat("]", 500), "nested more than 64 levels deep"},
		{"very deep nesting", "a: " + strings.Repeat("{a: ", 20000), "compose.yaml"},
		{"deep anchors", deepAnchors(1000), "levels deep"},
		{"invalid UTF-8", "services:\n  web:\n    image: \"\xff\"\n", "compose.yaml:3: compose file: it is not valid UTF-8"},
		{"UTF-16", "\xff\xfes\x00e\x00r\x00", "compose.yaml:1: compose file: it is not valid UTF-8"},
		{"binary", "\x7fELF\x02\x01\x01\x00", "compose.yaml"},
		{"long service name", "services:\n  " + strings.Repeat("a", 300) + ": {image: x}\n", "compose.yaml:2: services: the name \"aaaaaaaaaaaaaaaaaaaa\"... is 300 characters long, more than 255"},
		{"too large", "services: {web: {image: x}}\n#" + strings.Repeat("x", maxComposeFile), "it is larger than 8192 KiB"},
		{"port ranges", "services:\n  web:\n    image: x\n    ports:\n" + portRanges(400), "too many ports"},
		{"extends bomb", extendsBomb(), "more than 2000000 values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			err := readText(t, c.content)
			if err == nil {
				t.Fatal("no error")
			}
			if text := err.Error(); !strings.Contains(text, strings.Split(c.want, "...")[0]) {
				t.Errorf("got %.300q, want %q in it", text, c.want)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// portRanges publishes n times a thousand ports.
func portRanges(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "    - 127.0.%d.%d:1-1000:1-1000\n", i/250, i%250+1)
	}
	return b.String()
}

// deepAnchors nests anchors one in the other.
func deepAnchors(n int) string {
	var b strings.Builder
	b.WriteString("x-0: &x0 {a: 1}\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "x-%d: &x%d {a: *x%d}\n", i, i, i-1)
	}
	return b.String()
}

// extendsBomb makes each service twice as large as the one it extends.
func extendsBomb() string {
	var b strings.Builder
	b.WriteString("services:\n  s0: {image: x, environment: {")
	for i := range 5000 {
		fmt.Fprintf(&b, "A%d: x, ", i)
	}
	b.WriteString("}}\n")
	for i := 1; i < 1000; i++ {
		fmt.Fprintf(&b, "  s%d: {extends: s0}\n", i)
	}
	return b.String()
}

func TestAHugeFileCostsNoMoreThanItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compose.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(50 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = Read(t.Context(), Options{Dir: filepath.Dir(path)})
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("allocated %d MiB", used>>20)
	}
}

func TestReadStopsWhenCancelled(t *testing.T) {
	dir := testneed.LargeProject(t, "flat", 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Read(ctx, Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDiamondsAndChainsAreLinear(t *testing.T) {
	for _, shape := range testneed.Shapes() {
		dir := testneed.LargeProject(t, shape, 2000)
		start := time.Now()
		if _, _, err := Read(t.Context(), Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: %v", shape, took)
		}
	}
}

func TestAHundredThousandServices(t *testing.T) {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "  s%d: {image: x}\n", i)
	}
	err := readText(t, b.String())
	if err == nil || !strings.Contains(err.Error(), "100000 services") {
		t.Errorf("got %.200v", err)
	}
}
