package devloop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFileThatASyncReadInTheMiddleOfASaveIsSyncedAgain saves a file twice with
// the same content, the second time while it is being read: only the sync has
// seen what was there in between.
func TestFileThatASyncReadInTheMiddleOfASaveIsSyncedAgain(t *testing.T) {
	s := startSyncing(t, "sync")
	var once sync.Once
	s.mu.Lock()
	s.syncer.reading = func(source string) func() {
		read := func() {}
		once.Do(func() {
			s.write("src/a.js", "half")
			read = func() { s.write("src/a.js", "2") }
		})
		return read
	}
	s.mu.Unlock()
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	s.holds("web", "/srv/a.js", "2")
}

func TestSaveWithoutAChangeIsNotSyncedAgain(t *testing.T) {
	s := startSyncing(t, "sync")
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	for now := time.Now(); ; { // the clock of the file system may be some milliseconds behind
		write(t, filepath.Join(s.dir, "unwatched"), "x")
		if info, err := os.Stat(filepath.Join(s.dir, "unwatched")); err != nil || info.ModTime().After(now) {
			break
		}
	}
	s.write("src/a.js", "2")
	s.kind(1, EventSame, "")
	if n := s.logged("sync web"); n != 3 {
		t.Errorf("%d syncs of one change into three containers", n)
	}
}

// TestPodsThatOnlyATurnHasSeenGetTheNextChange changes a file when the pods that
// a rebuild has made have not been observed yet.
func TestPodsThatOnlyATurnHasSeenGetTheNextChange(t *testing.T) {
	s := startSyncing(t, "sync")
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	s.setDeaf(true)
	s.write("web/package.json", "{new}")
	s.kind(2, EventServing, "web")
	s.write("src/b.js", "1")
	s.kind(3, EventServing, "web")
	s.setDeaf(false)
	s.holds("web", "/srv/a.js", "2")
	s.holds("web", "/srv/b.js", "1")
}

func TestContainerThatDiesDuringASyncIsNoFailure(t *testing.T) {
	s := startSyncing(t, "sync")
	var once sync.Once
	s.mu.Lock()
	s.brake = func(_ context.Context, what string) error {
		if what == "sync web" {
			once.Do(func() { s.killPod("web") })
		}
		return nil
	}
	s.mu.Unlock()
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	s.holds("web", "/srv/a.js", "2")
	if strings.Contains(s.eventText(), `"failed"`) {
		t.Errorf("events:\n%s", s.eventText())
	}
}

// TestNewProgramIsRestartedThoughTheProjectChangedMeanwhile changes the compose
// file after a new container has got its files and before its program has.
func TestNewProgramIsRestartedThoughTheProjectChangedMeanwhile(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	s.mu.Lock()
	s.brake = func(ctx context.Context, what string) error {
		if what == "rerun web" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	s.mu.Unlock()
	s.killPod("web")
	s.until("the new program is to be restarted", func() bool { return s.running["rerun"] == 1 })
	s.mu.Lock()
	s.brake = nil
	s.mu.Unlock()
	s.write("compose.yaml", "2")
	s.until("it is", func() bool { return s.services["web"].pods[2].restarts == 1 })
}

func TestRestartThatDidNotReachTheSupervisorIsTriedAgain(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	s.mu.Lock()
	s.fault["rerun web"], s.once["rerun web"] = errors.New("the connection to the agent is over"), true
	s.mu.Unlock()
	s.write("src/a.js", "2")
	if e := s.kind(1, EventFailed, "web"); e.Why != "tried again in 1s" {
		t.Errorf("event %+v", e)
	}
	s.kind(1, EventServing, "web")
	s.until("every program was restarted", func() bool {
		for _, p := range s.services["web"].pods {
			if p.restarts == 0 {
				return false
			}
		}
		return true
	})
}

// TestLateNewsOfAProgramsEndIsNotTakenForTheNextOne has the news of an end come
// after the change that cures it has been served.
func TestLateNewsOfAProgramsEndIsNotTakenForTheNextOne(t *testing.T) {
	s := newSession(t, map[string]string{"src/a": "1"})
	s.set(s.restarting(1))
	s.syncer.holdEnds = make(chan struct{})
	s.dev(DevOptions{})
	s.up()
	s.until("its news are awaited", func() bool {
		pods := s.services["web"].pods
		return len(pods) == 1 && s.syncer.heard[pods[0].name].Running
	})
	s.endProgram("web", 0, 3)
	s.write("src/a", "2")
	s.kind(1, EventServing, "web")
	close(s.syncer.holdEnds)
	s.until("the news have come", func() bool { return s.syncer.heard[s.services["web"].pods[0].name].Starts == 2 })
	if strings.Contains(s.eventText(), `"failed"`) {
		t.Errorf("events:\n%s", s.eventText())
	}
}
