package offline

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestStepIsMadeOnceAndReplacesOlderResults(t *testing.T) {
	s := store{t.TempDir()}
	task := progress.Start(progress.Discard, "t", "")
	made := 0
	build := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "out"), []byte("x"), 0o644)
	}
	for range 3 {
		if _, err := s.make(t.Context(), "step", "one", task, build); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	dir, err := s.make(t.Context(), "step", "two", task, build)
	if err != nil {
		t.Fatal(err)
	}
	if dir != s.path("step", "two") || s.has("step", "one") {
		t.Errorf("the older result is still there, or the new one is not (%s)", dir)
	}
	if got := s.status("step", "two", ""); got.State != Current || got.Size != 1 {
		t.Errorf("status %+v", got)
	}
	if got := s.status("step", "three", ""); got.State != Stale {
		t.Errorf("status of a result of another key is %q", got.State)
	}
	if got := s.status("other", "one", ""); got.State != Missing {
		t.Errorf("status of what was never made is %q", got.State)
	}
}

func TestFailedStepLeavesNothing(t *testing.T) {
	s := store{t.TempDir()}
	task := progress.Start(progress.Discard, "t", "")
	broken := errors.New("broken")
	_, err := s.make(t.Context(), "step", "k", task, func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) || s.has("step", "k") {
		t.Fatalf("error %v, present %v", err, s.has("step", "k"))
	}
	// A process that was killed leaves a half-filled folder.
	part := s.path("step", "k") + ".part"
	if err := os.MkdirAll(filepath.Join(part, "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := s.make(t.Context(), "step", "k", task, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "old")); err == nil {
		t.Error("what an interrupted run left is part of the result")
	}
}

func TestConcurrentStepsTakeTurns(t *testing.T) {
	s := store{t.TempDir()}
	task := progress.Start(progress.Discard, "t", "")
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.make(t.Context(), "step", "k", task, func(string) error { made.Add(1); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times, want once", made.Load())
	}
}

func TestKeysTellPartsApart(t *testing.T) {
	if keyOf("ab", "c") == keyOf("a", "bc") || keyOf("a") == keyOf("a", "") {
		t.Error("different parts give one key")
	}
	if first, second := keyOf("a", "b"), keyOf("a", "b"); first != second {
		t.Errorf("the same parts give different keys, %s and %s", first, second)
	}
}
