package serve

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/agent/wire"
)

func TestSuccessorIsTheNewestContainerOfThatName(t *testing.T) {
	links := t.TempDir()
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	now := time.Now()
	add := func(name string, age time.Duration) {
		t.Helper()
		at := now.Add(-age)
		if err := errors.Join(os.WriteFile(filepath.Join(links, name+".log"), nil, 0o644), os.Chtimes(filepath.Join(links, name+".log"), at, at)); err != nil {
			t.Fatal(err)
		}
	}
	web := wire.SuccessorArgs{Namespace: "ns", Pod: "web-1", Container: "web", Not: id("a")}
	for _, step := range []struct {
		name string
		age  time.Duration
		want string
	}{
		{"web-1_ns_web-" + id("a"), 3 * time.Hour, ""},
		{"web-1_ns_web-metrics-" + id("c"), time.Hour, ""},
		{"web-12_ns_web-" + id("d"), time.Hour, ""},
		{"web-1_ns_web-" + id("b"), 2 * time.Hour, id("b")},
	} {
		add(step.name, step.age)
		if got := successor(links, web); got != step.want {
			t.Errorf("with %s: %q, want %q", step.name, got, step.want)
		}
	}
}
