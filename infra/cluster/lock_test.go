package cluster

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestTheSecondWaitsForTheFirstAndReadsItsWord(t *testing.T) {
	m := New(nil, t.TempDir())
	var mu sync.Mutex
	var said []string
	waiting := make(chan struct{})
	var once sync.Once
	task := progress.Start(progress.SinkFunc(func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, e.Text)
		if strings.Contains(e.Text, "waiting") {
			once.Do(func() { close(waiting) })
		}
	}), "cluster x", "")

	first, err := m.acquire(t.Context(), "x", task)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.note(intent{Engine: "e", Unfinished: true}); err != nil {
		t.Fatal(err)
	}
	other, err := m.acquire(t.Context(), "y", task)
	if err != nil {
		t.Fatal("another cluster has a lock of its own:", err)
	}
	defer other.release()

	got := make(chan *lock, 1)
	go func() {
		l, err := m.acquire(t.Context(), "x", task)
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	<-waiting
	select {
	case <-got:
		t.Fatal("two hold the lock")
	default:
	}
	if err := first.release(); err != nil { // as the kernel does for a killed process
		t.Fatal(err)
	}
	second := <-got
	defer second.release()
	if !second.was.Unfinished || second.was.Engine != "e" || second.was.PID != os.Getpid() {
		t.Errorf("the first's word: %+v", second.was)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(strings.Join(said, "\n"), "(pid ") {
		t.Errorf("the wait names no holder: %q", said)
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	m := New(nil, t.TempDir())
	task := progress.Start(progress.Discard, "cluster x", "")
	l, err := m.acquire(t.Context(), "x", task)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.acquire(ctx, "x", task); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
