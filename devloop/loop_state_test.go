package devloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/model"
)

func TestOnceGoesOnWhenFilesChangeDuringTheTurn(t *testing.T) {
	for file, content := range map[string]string{"web/main.go": "v2", "compose.yaml": "2"} {
		t.Run(file, func(t *testing.T) {
			s := newSession(t, map[string]string{"web/main.go": "v1"})
			s.set(svc{Name: "web", Build: s.buildOf("web"), Ports: port})
			s.brake = func(ctx context.Context, what string) error {
				if what == "build p-web" && s.logged(what) == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			s.dev(DevOptions{Once: true})
			s.until("the build runs", func() bool { return s.running["build"] == 1 })
			s.write(file, content)
			err := <-s.done
			s.done <- nil
			if err != nil {
				t.Fatal(err)
			}
			pods := s.containers("web")
			if want := strings.TrimPrefix(content, "2"); len(pods) != 1 || !strings.HasSuffix(pods[0]["/app/main.go"], want) {
				t.Errorf("containers %v", pods)
			}
			if s.logged("publish") == 0 || s.logged("prune") == 0 {
				t.Errorf("the turn over the project was never finished: %v", s.log)
			}
		})
	}
}

func TestFirstTurnThatFailsIsFinishedWhenItIsCured(t *testing.T) {
	s := newSession(t, map[string]string{"db/main.go": "syntax error"})
	s.set(svc{Name: "db", Build: s.buildOf("db")}, svc{Name: "web", Image: "w", DependsOn: depends("db healthy"), Ports: port})
	var started, up atomic.Int32
	s.dev(DevOptions{Started: func() { started.Add(1) }, OnUp: func(r UpResult) {
		if len(r.URLs) == 1 {
			up.Add(1)
		}
	}})
	s.kind(1, EventFailed, "db")
	s.until("the other work is over", func() bool { return s.running["publish"] == 0 && s.count("publish") == 1 })
	s.write("db/main.go", "good")
	s.kind(1, EventServing, "db")
	s.up()
	s.cancel()
	s.done <- <-s.done
	if started.Load() != 1 || up.Load() != 1 || s.logged("prune") != 1 {
		t.Errorf("started %d times, up %d times, pruned %d times", started.Load(), up.Load(), s.logged("prune"))
	}
}

func TestFailureStaysShownWhenASyncCameInMeanwhile(t *testing.T) {
	s := startSyncing(t, "sync")
	release := make(chan struct{})
	s.mu.Lock()
	s.fault["build p-web"] = errors.New("npm says no")
	s.brake = func(ctx context.Context, what string) error {
		if what == "build p-web" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return nil
	}
	s.mu.Unlock()
	s.write("web/package.json", "{bad}")
	s.until("the build runs", func() bool { return s.running["build"] == 1 })
	s.write("src/a.js", "2")
	s.kind(2, EventChange, "web")
	close(release)
	s.holds("web", "/srv/a.js", "2")
	s.kind(1, EventFailed, "web")
	s.mu.Lock()
	delete(s.fault, "build p-web")
	s.mu.Unlock()
	s.write("src/b.js", "1")
	s.holds("web", "/app/package.json", "{bad}")
	if e := s.kind(1, EventServing, "web"); e.Action != "rebuild" {
		t.Errorf("serving though its build had failed: %+v", e)
	}
}

func TestNewContainerOfAFailedServiceGetsTheFiles(t *testing.T) {
	s := startSyncing(t, "sync")
	s.write("src/a.js", "2")
	s.holds("web", "/srv/a.js", "2")
	s.kind(1, EventServing, "web")
	s.mu.Lock()
	s.fault["build p-web"] = errors.New("npm says no")
	s.mu.Unlock()
	s.write("web/package.json", "{bad}")
	s.kind(1, EventFailed, "web")
	s.killPod("web")
	s.holds("web", "/srv/a.js", "2")
	if n := s.logged("build p-web"); n != 2 {
		t.Errorf("built %d times: a new container is no reason to try a build again", n)
	}
	if strings.Count(s.eventText(), `"event":"serving","service":"web"`) != 1 {
		t.Errorf("a service whose build failed counts as serving:\n%s", s.eventText())
	}
}

func TestRestartThatWasSkippedIsMadeUpFor(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "db", Image: "d"}, svc{Name: "web", Image: "w", DependsOn: depends("db healthy restart")})
	if _, err := New(s.deps(s.project)).Up(t.Context(), UpOptions{}); err != nil {
		t.Fatal(err)
	}
	s.dev(DevOptions{})
	s.up()
	s.mu.Lock()
	s.fault["wait db"], s.once["wait db"] = errors.New("crash loop"), true
	s.mu.Unlock()
	s.commands <- Command{Verb: CommandRestart, Service: "db"}
	s.kind(1, EventFailed, "db")
	s.mu.Lock()
	s.notify() // a look at the cluster after the failure shows db ready
	s.mu.Unlock()
	s.until("web restarts once db has recovered", func() bool { return s.count("recreate web") == 1 })
}

func TestOneTimerForAllThatIsTriedAgain(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "a", Image: "a"}, svc{Name: "b", Image: "b"}, svc{Name: "c", Image: "c"})
	for _, name := range []string{"a", "b", "c"} {
		s.fault["apply "+name], s.once["apply "+name] = errors.New("connection refused"), true
	}
	s.dev(DevOptions{})
	for _, name := range []string{"a", "b", "c"} {
		if e := s.kind(1, EventFailed, name); e.Why != "tried again in 1s" {
			t.Errorf("%s: %s", name, e.Why)
		}
	}
	s.up()
}

func TestProgramsThatHaveAllAreNotRestarted(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	s.write("src/a.js", "2")
	s.kind(1, EventServing, "web")
	s.write("compose.yaml", "2")
	s.kind(2, EventServing, "")
	restarts := func() (n []int32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range s.services["web"].pods {
			n = append(n, p.restarts)
		}
		return n
	}
	if got := restarts(); !slices.Equal(got, []int32{1, 1, 1}) {
		t.Errorf("restarts %v after a change of the compose file that changed nothing", got)
	}
	s.killPod("web")
	s.holds("web", "/srv/a.js", "2")
	s.until("the new one has started again", func() bool { return s.services["web"].pods[2].restarts == 1 })
	if got := restarts(); !slices.Equal(got, []int32{1, 1, 1}) {
		t.Errorf("restarts %v after a new container came", got)
	}
}

func TestForceRecreateCountsForTheFirstTurn(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "web", Image: "w"})
	if _, err := New(s.deps(s.project)).Up(t.Context(), UpOptions{}); err != nil {
		t.Fatal(err)
	}
	s.dev(DevOptions{Up: UpOptions{ForceRecreate: true}})
	s.up()
	s.write("compose.yaml", "2")
	s.kind(2, EventServing, "")
	if n := s.logged("recreate web"); n != 1 {
		t.Errorf("recreated %d times", n)
	}
}

func (s *session) unreadable(err error, files ...string) {
	s.projectMu.Lock()
	defer s.projectMu.Unlock()
	s.readErr, s.files = err, files
}

func TestEditOfTheComposeFileOutlivesAClusterThatIsAway(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "web", Image: "w"})
	s.dev(DevOptions{})
	s.up()
	s.set(svc{Name: "web", Image: "w"}, svc{Name: "new", Image: "n"})
	s.mu.Lock()
	s.fault["observe"] = errors.New("connection refused")
	s.mu.Unlock()
	s.write("compose.yaml", "2")
	if e := s.kind(1, EventFailed, ""); e.Why != "tried again in 1s" {
		t.Errorf("event %+v", e)
	}
	s.mu.Lock()
	delete(s.fault, "observe")
	s.mu.Unlock()
	s.kind(2, EventServing, "")
	s.until("the new service is there", func() bool { return s.services["new"] != nil })
}

func TestFileThatAProjectLacksCuresItWhenItComes(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "web", Image: "w"})
	s.dev(DevOptions{})
	s.up()
	s.unreadable(errors.New(`services.web.env_file[0]: there is no such file`), s.path("later.env"))
	s.write("compose.yaml", "2")
	s.kind(1, EventFailed, "")
	s.set(svc{Name: "web", Image: "w"}, svc{Name: "new", Image: "n"})
	s.unreadable(nil, s.path("later.env"))
	s.write("later.env", "A=1")
	if e := s.kind(2, EventServing, ""); e.Cause != "source changed: later.env" {
		t.Errorf("event %+v", e)
	}
	s.until("the new service is there", func() bool { return s.services["new"] != nil })
}

func TestOnceFailsWhenTheProjectCannotBeReadAgain(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "web", Image: "w"})
	release := make(chan struct{})
	s.brake = func(ctx context.Context, what string) error {
		if what == "wait web" {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	}
	s.dev(DevOptions{Once: true})
	s.until("it waits", func() bool { return s.running["wait"] == 1 })
	s.unreadable(errors.New("compose.yaml:3: no such key"))
	s.write("compose.yaml", "broken")
	s.kind(1, EventFailed, "")
	close(release)
	err := <-s.done
	s.done <- nil
	if err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("error %v", err)
	}
}

func TestInitialSyncThatIsAddedReachesContainersThatRun(t *testing.T) {
	s := startSyncing(t, "sync")
	s.write("src/b.js", "1")
	s.holds("web", "/srv/b.js", "1")
	s.kind(1, EventServing, "web")
	s.set(s.syncing("sync", func(r *types.Trigger) { r.InitialSync = true }))
	s.write("compose.yaml", "2")
	s.holds("web", "/srv/a.js", "1")
}

func TestFileThatCannotBeReadIsWarnedOfAndTheRestIsSynced(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/a.js": "1", "src/k": "1"})
	s.set(s.syncing("sync"))
	s.dev(DevOptions{})
	s.up()
	if err := os.Remove(s.path("src/k")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", s.path("src/k"))
	if err != nil {
		t.Skip(err)
	}
	defer socket.Close()
	turn := newTurn(s.deps(nil), Want{}, Have{
		Ledger:   map[string][]model.FileSync{"web": {{Source: s.path("src/k"), Target: "/srv/k"}, {Source: s.path("src/a.js"), Target: "/srv/a.js"}}},
		Services: s.observed(t),
	}, Dirty{})
	turn.deps.Syncer = s.syncer
	var warnings []string
	turn.warn = func(service, text string) { warnings = append(warnings, service+": "+text) }
	if err := turn.sync(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	s.holds("web", "/srv/a.js", "1")
	if want := "web: not synced: " + s.path("src/k") + " is a socket"; !slices.Equal(warnings, []string{want}) {
		t.Errorf("warnings of three containers: %q", warnings)
	}
}

func (w *world) observed(t *testing.T) map[string]model.ServiceState {
	t.Helper()
	states, err := w.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]model.ServiceState{}
	for _, s := range states {
		byName[s.Service] = s
	}
	return byName
}

func TestWhatIsImpossibleIsNotTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("connection refused"), true},
		{fmt.Errorf("its image has no tar: %w", ErrCannotSync), false},
		{context.Canceled, false},
	} {
		if got := transient(Sync, fmt.Errorf("sync: %w", c.err)); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestContainerThatCannotBeSyncedIntoIsTriedWithTheNextChangeAlone(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/a.js": "1", "api/main.go": "1"})
	web := s.syncing("sync")
	web.Build, web.Image, web.Watch = nil, "w", web.Watch[:1]
	s.set(web, svc{Name: "api", Build: s.buildOf("api")})
	s.fault["sync web"] = fmt.Errorf("its image has no tar: %w", ErrCannotSync)
	s.dev(DevOptions{})
	s.up()
	s.write("src/a.js", "2")
	if e := s.kind(1, EventFailed, "web"); e.Why != "" {
		t.Errorf("event %+v", e)
	}
	for i := range 3 {
		s.killPod("web")
		s.write("api/main.go", fmt.Sprint("v", i))
		s.kind(i+1, EventServing, "api")
	}
	if n := s.logged("sync web"); n != 3 {
		t.Errorf("tried %d times in three containers", n)
	}
}

// The ladder goes on where files cannot be synced: what is built is built again.
func TestImageThatCannotBeSyncedIntoIsRebuilt(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/src/a.js": "1"})
	s.set(svc{Name: "web", Build: s.buildOf("web"), Scale: three(), Watch: []types.Trigger{
		{Path: s.path("web/src"), Action: "sync+exec", Target: "/app/src", InitialSync: true, Exec: types.ServiceHook{Command: []string{"reload"}}},
	}})
	s.fault["sync web"] = fmt.Errorf("its image has no tar: %w", ErrCannotSync)
	s.dev(DevOptions{})
	if e := s.kind(1, EventHold, "web"); !strings.Contains(e.Why, "its image has no tar") || !strings.HasSuffix(e.Why, "rebuild instead") {
		t.Errorf("why: %q", e.Why)
	}
	s.up()
	s.write("web/src/a.js", "2")
	s.holds("web", "/app/src/a.js", "2")
	s.write("compose.yaml", "2")
	s.kind(1, EventProject, "")
	s.write("web/src/a.js", "3")
	s.holds("web", "/app/src/a.js", "3")
	if n := s.logged("sync web"); n == 0 || n > 3 {
		t.Errorf("tried %d times in three containers", n)
	}
	if text := s.eventText(); strings.Contains(text, `"event":"failed"`) {
		t.Error("a rung that cannot be used is no failure")
	}
}

func TestFurtherTryOfTheProjectDoesNotWaitForAServiceThatIsWaitedFor(t *testing.T) {
	s := newSession(t, nil)
	s.set(svc{Name: "db", Image: "d"}, svc{Name: "web", Image: "w"})
	s.dev(DevOptions{})
	s.up()
	s.mu.Lock()
	s.fault["prune"], s.once["prune"] = errors.New("connection refused"), true
	s.mu.Unlock()
	s.write("compose.yaml", "2")
	s.kind(1, EventFailed, "")
	s.mu.Lock()
	s.brake = func(ctx context.Context, entry string) error {
		if entry != "wait db" || s.logged("prune") > 2 {
			return nil
		}
		<-ctx.Done() // it does not come to serve
		return ctx.Err()
	}
	s.mu.Unlock()
	s.commands <- Command{Verb: CommandRestart, Service: "db"}
	s.until("db is waited for", func() bool { return s.running["wait"] > 0 })
	s.until("the project is tried again", func() bool { return s.count("prune") == 3 })
	s.commands <- Command{Verb: CommandRestart, Service: "web"}
	s.kind(1, EventServing, "web")
}

func TestContainerThatHasJustCrashedIsNotBelieved(t *testing.T) {
	now, exit := time.Now(), func(status int32) *int32 { return &status }
	for name, c := range map[string]struct {
		pod  model.PodState
		want bool
	}{
		"never ended":                {model.PodState{Since: now}, true},
		"crashed a second ago":       {model.PodState{Since: now.Add(-time.Second), ExitCode: exit(1)}, false},
		"crashed before that":        {model.PodState{Since: now.Add(-steadyAfterCrash), ExitCode: exit(1)}, true},
		"ended well":                 {model.PodState{Since: now, ExitCode: exit(0)}, true},
		"its healthcheck speaks for": {model.PodState{Since: now, ExitCode: exit(1), Health: "healthy"}, true},
	} {
		if got := steady(model.ServiceState{Pods: []model.PodState{{}, c.pod}}, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
