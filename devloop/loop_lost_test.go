package devloop

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
)

// TestFileThatASyncReadInTheMiddleOfASaveIsSyncedAgain saves a file twice with
// the same content, the second time while it is being read: only the sync has
// seen what was there in between.
func TestFileThatASyncReadInTheMiddleOfASaveIsSyncedAgain(t *testing.T) {
	s := startSyncing(t, "sync")
	var once sync.Once
	s.mu.Lock()
	s.reading = func(source string) func() {
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

// TestSwitchesBackAndForthConverge writes many files with one of two contents,
// over and over, while pods are killed, nodes and news of the cluster come and go
// and the project changes: every replica must have what is on disk in the end.
func TestSwitchesBackAndForthConverge(t *testing.T) {
	for seed := range int64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := startSyncing(t, "sync+restart")
			random := rand.New(rand.NewSource(seed))
			for i := range 100 {
				s.randomSwitch(random, i)
				s.randomTrouble(random, i)
				if random.Intn(3) == 0 {
					s.pause()
				}
			}
			s.setDown("")
			s.setDeaf(false)
			s.mu.Lock()
			clear(s.fault)
			s.mu.Unlock()
			disk, err := readTree(s.path("src"))
			if err != nil {
				t.Fatal(err)
			}
			var last string
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(last)
				}
			})
			s.until("every replica has the files on disk", func() bool {
				return !slices.ContainsFunc(s.services["web"].pods, func(p *fakePod) bool {
					last = fmt.Sprintf("%s on %s was restarted %d times and has %v, on disk is %v", p.name, p.node, p.restarts, p.files, disk)
					return p.restarts == 0 || !synced(p.files, disk)
				})
			})
		})
	}
}

// randomSwitch writes files as a switch of branches does, or removes them.
func (s *session) randomSwitch(random *rand.Rand, i int) {
	if random.Intn(6) == 0 {
		_ = os.RemoveAll(s.path("src/branch"))
	}
	for f := range 20 {
		s.write(fmt.Sprintf("src/branch/d%d/f%d", f%3, f), fmt.Sprint(i%2))
	}
	s.write("src/a.js", fmt.Sprint("x", i%2))
}

func (s *session) randomTrouble(random *rand.Rand, i int) {
	switch random.Intn(8) {
	case 0:
		s.killPod("web")
	case 1:
		s.setDown([]string{"", "node-2"}[i%2])
	case 2:
		s.setDeaf(i%2 == 0)
	case 3:
		s.write("compose.yaml", fmt.Sprint(i))
	case 4:
		s.write("web/package.json", fmt.Sprint(i))
	case 5:
		s.mu.Lock()
		defer s.mu.Unlock()
		what := []string{"sync web", "rerun web", "wait web"}[i%3]
		s.fault[what], s.once[what] = errors.New("random fault"), true
	}
}

// A skippingClock is the real one, some time later.
type skippingClock struct {
	watch.SystemClock
	skipped atomic.Int64
}

func (c *skippingClock) Now() time.Time { return time.Now().Add(time.Duration(c.skipped.Load())) }

// TestFileThatABuildReadInTheMiddleOfASaveIsBuiltAgain does the same with a
// formatter that writes what is there already while the context is sent.
func TestFileThatABuildReadInTheMiddleOfASaveIsBuiltAgain(t *testing.T) {
	s := startSyncing(t, "sync")
	var once sync.Once
	s.mu.Lock()
	s.reading = func(string) func() {
		read := func() {}
		once.Do(func() {
			s.write("web/package.json", "")
			read = func() { s.write("web/package.json", "{new}") }
		})
		return read
	}
	told := make(chan struct{})
	s.brake = func(_ context.Context, what string) error {
		if what == "build p-web" { // it has read its context
			<-told
		}
		return nil
	}
	s.mu.Unlock()
	s.write("web/package.json", "{new}")
	if e := s.kind(2, EventChange, "web"); e.Why != "saved while it was read" {
		t.Errorf("event %+v", e)
	}
	close(told)
	s.holds("web", "/app/package.json", "{new}")
}

func TestSaveWithoutAChangeIsNotSyncedAgain(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/a.js": "1"})
	clock := &skippingClock{}
	s.clock = clock
	s.set(s.syncing("sync"))
	s.dev(DevOptions{})
	s.up()
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	clock.skipped.Store(int64(time.Hour))
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

// TestEditDuringARestartDoesNotWaitForWhatItMayCure saves a file again while the
// program is started with one that keeps it from coming to serve.
func TestEditDuringARestartDoesNotWaitForWhatItMayCure(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	saved := make(chan struct{})
	var once sync.Once
	s.mu.Lock()
	s.brake = func(ctx context.Context, what string) error {
		switch what {
		case "rerun web":
			<-saved
		case "wait web":
			sick := false
			once.Do(func() { sick = true })
			if sick {
				<-ctx.Done()
				return ctx.Err()
			}
		}
		return nil
	}
	s.mu.Unlock()
	s.write("src/a.js", "broken")
	s.until("the programs are started again", func() bool { return s.running["rerun"] == 3 })
	s.write("src/a.js", "2")
	s.kind(2, EventChange, "web")
	close(saved)
	s.kind(1, EventServing, "web")
	s.holds("web", "/srv/a.js", "2")
}
