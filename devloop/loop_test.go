package devloop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// A session is a running Dev over a world and a directory.
type session struct {
	*world
	t      *testing.T
	dir    string
	syncer *fakeSyncer

	clock    watch.Clock // nil: the system's
	agentDir string
	binds    []translate.Bind // of every service

	projectMu sync.Mutex
	project   *types.Project
	readErr   error
	files     []string // that the project is read from besides compose.yaml

	eventMu sync.Mutex
	events  []Event
	news    chan struct{}
	onEvent func(Event) // is told of every event in the loop; nil: nobody

	commands chan Command
	cancel   context.CancelFunc
	done     chan error
}

func newSession(t *testing.T, files map[string]string) *session {
	s := &session{world: newWorld(t), t: t, dir: t.TempDir(), news: make(chan struct{}), done: make(chan error, 1), commands: make(chan Command)}
	s.syncer = &fakeSyncer{world: s.world}
	for name, content := range files {
		s.write(name, content)
	}
	s.write("compose.yaml", "1")
	return s
}

func (s *session) path(name string) string    { return filepath.Join(s.dir, name) }
func (s *session) write(name, content string) { s.t.Helper(); write(s.t, s.path(name), content) }
func (s *session) buildOf(dir string) *types.BuildConfig {
	return &types.BuildConfig{Context: s.path(dir)}
}

// set replaces the project, as an edit of the compose file does.
func (s *session) set(services ...svc) {
	s.projectMu.Lock()
	s.project = project("p", services...)
	s.project.WorkingDir = s.dir
	s.projectMu.Unlock()
}

func (s *session) read(context.Context) (translate.Input, error) {
	s.projectMu.Lock()
	defer s.projectMu.Unlock()
	return translate.Input{Project: s.project, Files: append([]string{s.path("compose.yaml")}, s.files...)}, s.readErr
}

func (s *session) translate(in translate.Input, target translate.Target) (translate.Result, error) {
	r, err := fakeTranslate(in, target)
	for i := range r.Services {
		r.Services[i].Binds = s.binds
	}
	return r, err
}

// dev starts the loop; it ends with the test, and nothing may be left of it.
func (s *session) dev(opts DevOptions) {
	s.t.Helper()
	before := runtime.NumGoroutine()
	deps := s.deps(nil)
	deps.Read, deps.Events, deps.Translate = s.read, s.event, s.translate
	deps.Target.AgentDir = s.agentDir
	deps.Clock = s.clock
	if s.syncer != nil {
		deps.Syncer = s.syncer
	}
	e := New(deps)
	opts.Commands = s.commands
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	s.cancel = cancel
	go func() { s.done <- e.Dev(ctx, opts) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-s.done; !errors.Is(err, context.Canceled) && !opts.Once {
			s.t.Errorf("dev ended with %v", err)
		}
		noLeak(s.t, before)
		if s.t.Failed() {
			s.t.Logf("events:\n%s", s.eventText())
			s.t.Logf("log:\n%s", strings.Join(s.log, "\n"))
		}
	})
}

func (s *session) event(e Event) {
	if s.onEvent != nil {
		s.onEvent(e)
	}
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	s.events = append(s.events, e)
	close(s.news)
	s.news = make(chan struct{})
}

func (s *session) eventText() string {
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	var lines []string
	for _, e := range s.events {
		data, _ := e.MarshalJSON()
		lines = append(lines, string(data))
	}
	return strings.Join(lines, "\n")
}

// await returns the n-th event (from 1) that matches.
func (s *session) await(n int, what string, match func(Event) bool) Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	for {
		s.eventMu.Lock()
		seen, news := 0, s.news
		for _, e := range s.events {
			if match(e) {
				if seen++; seen == n {
					s.eventMu.Unlock()
					return e
				}
			}
		}
		s.eventMu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			s.t.Fatalf("never %s (%d)", what, n)
		}
	}
}

func (s *session) kind(n int, kind EventKind, service string) Event {
	s.t.Helper()
	return s.await(n, fmt.Sprintf("%s %s", kind, service), func(e Event) bool { return e.Kind == kind && e.Service == service })
}

// up waits until the whole project serves.
func (s *session) up() { s.t.Helper(); s.kind(1, EventServing, "") }

// holds waits until every container of a service has the file with this content.
func (s *session) holds(service, file, content string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s holds %s = %q", service, file, content), func() bool {
		state := s.services[service]
		return state != nil && len(state.pods) == int(state.replicas) && !slices.ContainsFunc(state.pods, func(p *fakePod) bool { return p.files[file] != content })
	})
}

func (s *session) lacks(service, file string) {
	s.t.Helper()
	s.until(service+" lacks "+file, func() bool {
		return !slices.ContainsFunc(s.services[service].pods, func(p *fakePod) bool { _, has := p.files[file]; return has })
	})
}

func three() *int { n := 3; return &n }

func TestEditOfABuildContextRebuilds(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/.dockerignore": "*.md\n", "web/doc.md": "x"})
	s.set(svc{Name: "web", Build: s.buildOf("web"), Scale: three()}, svc{Name: "db", Image: "postgres"})
	s.dev(DevOptions{})
	s.up()
	s.write("web/doc.md", "ignored")
	s.write("web/main.go", "v2")
	s.holds("web", "/app/main.go", "v2")
	e := s.kind(1, EventServing, "web")
	if e.Phase != PhaseServing || e.Action != "rebuild" || e.Cause != "source changed: web/main.go" || e.Why != "build context" || e.How != "swapped in place" || e.Replicas != 3 || e.Total <= 0 {
		t.Errorf("event %+v", e)
	}
	var names []string
	for _, step := range e.Steps {
		names = append(names, step.Name)
	}
	if got := strings.Join(names, " "); !strings.HasSuffix(got, "build load apply swap ready") || !strings.Contains(got, "debounce") {
		t.Errorf("waterfall %s: %s", got, e.Waterfall())
	}
	if n := s.logged("build p-web"); n != 2 {
		t.Errorf("built %d times", n)
	}
	if n := s.logged("pull postgres"); n != 1 {
		t.Errorf("postgres was pulled %d times", n)
	}
}

func TestChangeOfIgnoreRulesCountsAtOnce(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/notes": "x"})
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	s.dev(DevOptions{})
	s.up()
	s.write("web/.dockerignore", "notes\n")
	s.kind(2, EventServing, "")
	builds := s.logged("build p-web")
	s.write("web/notes", "y")
	s.write("web/main.go", "v2")
	s.holds("web", "/app/main.go", "v2")
	if e := s.kind(2, EventServing, "web"); e.Cause != "source changed: web/main.go" { // the first is .dockerignore itself
		t.Errorf("cause %q", e.Cause)
	}
	if n := s.logged("build p-web"); n != builds+1 {
		t.Errorf("%d builds after the ignored change and the other", n-builds)
	}
}

func TestSaveWithoutAChangeDoesNothing(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	s.dev(DevOptions{})
	s.up()
	s.write("web/main.go", "v2")
	s.kind(1, EventServing, "web")
	s.write("web/main.go", "v2")
	s.kind(1, EventSame, "")
	if n := s.logged("build p-web"); n != 2 {
		t.Errorf("built %d times", n)
	}
}

func TestBrokenBuildIsCuredAndStartsWhatWaited(t *testing.T) {
	s := newSession(t, map[string]string{"db/main.go": "syntax error", "web/main.go": "v1"})
	s.set(svc{Name: "db", Build: s.buildOf("db")}, svc{Name: "web", Build: s.buildOf("web"), DependsOn: depends("db healthy")},
		svc{Name: "front", Image: "nginx", DependsOn: depends("web started")}, svc{Name: "other", Image: "redis"})
	s.dev(DevOptions{})
	e := s.kind(1, EventFailed, "db")
	if e.Error == nil || !strings.Contains(e.Error.Error(), "main.go:1") {
		t.Errorf("event %+v", e)
	}
	s.until("other runs", func() bool { return s.services["other"] != nil })
	s.write("db/main.go", "good")
	s.kind(1, EventServing, "db")
	s.kind(1, EventServing, "front")
	s.holds("web", "/app/main.go", "v1")
	if n := s.logged("build p-web"); n != 1 {
		t.Errorf("web was built %d times", n)
	}
	s.write("db/main.go", "syntax error again")
	s.kind(2, EventFailed, "db")
	if files := s.containers("db"); files[0]["/app/main.go"] != "good" {
		t.Errorf("a failed build replaced the running service: %v", files)
	}
}

func TestLatestChangeCancelsTheRunningBuild(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	s.dev(DevOptions{})
	s.up()
	cancelled := make(chan error, 1)
	s.mu.Lock()
	s.brake = func(ctx context.Context, what string) error {
		if what == "build p-web" && s.logged("build p-web") == 2 {
			<-ctx.Done()
			cancelled <- context.Cause(ctx)
			return ctx.Err()
		}
		return nil
	}
	s.mu.Unlock()
	s.write("web/main.go", "v2")
	s.until("the build runs", func() bool { return s.running["build"] == 1 })
	s.write("web/main.go", "v3")
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("what is given up looks like a failure: %v", err)
	}
	s.holds("web", "/app/main.go", "v3")
	s.kind(1, EventCancel, "web")
	s.kind(1, EventServing, "web")
	if n := s.logged("apply web"); n != 2 {
		t.Errorf("applied %d times, want twice: v2 must never be", n)
	}
}

func (s *session) syncing(action types.WatchAction, extra ...func(*types.Trigger)) svc {
	rule := types.Trigger{Path: s.path("src"), Action: action, Target: "/srv"}
	for _, f := range extra {
		f(&rule)
	}
	return svc{Name: "web", Build: s.buildOf("web"), Scale: three(), Watch: []types.Trigger{rule, {Path: s.path("web/package.json"), Action: "rebuild"}}}
}

// startSyncing starts a loop over three replicas of web with one rule, and
// waits until they serve.
func startSyncing(t *testing.T, action types.WatchAction) *session {
	t.Helper()
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/a.js": "1"})
	s.set(s.syncing(action))
	s.dev(DevOptions{})
	s.up()
	return s
}

func TestSyncReachesEveryReplica(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/a.js": "1"})
	s.set(s.syncing("sync", func(r *types.Trigger) { r.Ignore = []string{"*.tmp", "ignored/"} }))
	s.dev(DevOptions{})
	s.up()
	s.write("src/a.js", "2")
	s.write("src/x.tmp", "no")
	s.write("src/ignored/x", "no")
	s.write("src/deep/b.js", "1")
	s.holds("web", "/srv/deep/b.js", "1")
	s.holds("web", "/srv/a.js", "2")
	s.lacks("web", "/srv/x.tmp")
	s.lacks("web", "/srv/ignored/x")
	if err := os.RemoveAll(s.path("src/deep")); err != nil {
		t.Fatal(err)
	}
	s.lacks("web", "/srv/deep/b.js")
	if err := os.Rename(s.path("src/a.js"), s.path("src/c.js")); err != nil {
		t.Fatal(err)
	}
	s.holds("web", "/srv/c.js", "2")
	s.lacks("web", "/srv/a.js")
	if n := s.logged("build p-web"); n != 1 {
		t.Errorf("built %d times", n)
	}
	if e := s.kind(1, EventServing, "web"); e.Action != "sync" || e.Why != "develop.watch[0]" {
		t.Errorf("event %+v", e)
	}
}

func TestNewContainersGetWhatWasSynced(t *testing.T) {
	s := startSyncing(t, "sync+restart")
	s.write("src/a.js", "2")
	s.holds("web", "/srv/a.js", "2")
	s.killPod("web")
	s.holds("web", "/srv/a.js", "2")
	s.write("web/package.json", "{new}")
	s.holds("web", "/app/package.json", "{new}")
	s.holds("web", "/srv/a.js", "2")
	s.until("the programs were restarted", func() bool {
		return !slices.ContainsFunc(s.services["web"].pods, func(p *fakePod) bool { return p.restarts == 0 })
	})
}

func TestClusterThatIsAwaySaysSoAndIsCaughtUpWith(t *testing.T) {
	s := startSyncing(t, "sync")
	s.write("src/a.js", "2")
	s.holds("web", "/srv/a.js", "2")
	warns := func(text string) {
		t.Helper()
		s.await(1, text, func(e Event) bool { return e.Kind == EventWarn && strings.Contains(e.Why, text) })
	}
	s.setAway(errors.New("connection refused"))
	warns("the cluster does not answer: connection refused")
	s.killPod("web")
	s.setAway(nil)
	warns("the cluster answers again")
	s.holds("web", "/srv/a.js", "2")
}

func TestFailedRebuildDoesNotLoseTheSyncOfTheSameBatch(t *testing.T) {
	s := startSyncing(t, "sync")
	s.mu.Lock()
	s.fault["build p-web"], s.once["build p-web"] = errors.New("npm says no"), true
	s.mu.Unlock()
	s.write("web/package.json", "{bad}")
	s.write("src/a.js", "2")
	s.holds("web", "/srv/a.js", "2")
	s.kind(1, EventFailed, "web")
	s.write("src/b.js", "1") // the next change takes up what is owed
	s.holds("web", "/app/package.json", "{bad}")
	s.holds("web", "/srv/a.js", "2")
	s.holds("web", "/srv/b.js", "1")
}

func TestSyncWithExecPassesTheOutputOn(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}"})
	s.set(s.syncing("sync+exec", func(r *types.Trigger) { r.Exec = types.ServiceHook{Command: types.ShellCommand{"make", "assets"}} }))
	s.dev(DevOptions{})
	s.up()
	s.write("src/a.css", "1")
	s.await(3, "output of three containers", func(e Event) bool {
		return e.Kind == EventOutput && strings.HasPrefix(e.Line, "ran make assets in web-")
	})
	s.holds("web", "/srv/a.css", "1")
}

func TestInitialSyncAndInclude(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}", "src/A.one": "1", "src/B.one": "1"})
	s.set(s.syncing("sync", func(r *types.Trigger) { r.InitialSync, r.Include = true, []string{"A.*"} }))
	s.dev(DevOptions{})
	s.holds("web", "/srv/A.one", "1")
	s.up()
	s.write("src/B.two", "1")
	s.write("src/A.two", "1")
	s.holds("web", "/srv/A.two", "1")
	s.lacks("web", "/srv/B.one")
	s.lacks("web", "/srv/B.two")
}

func TestRestartRuleUsesTheSupervisorOrNewPods(t *testing.T) {
	for _, noSupervisor := range []bool{false, true} {
		s := newSession(t, map[string]string{"conf/a": "1"})
		s.syncer.noSupervisor = noSupervisor
		s.set(svc{Name: "web", Image: "nginx", Watch: []types.Trigger{{Path: s.path("conf"), Action: "restart"}}})
		s.dev(DevOptions{})
		s.up()
		s.write("conf/a", "2")
		s.kind(1, EventServing, "web")
		want := map[bool]int{false: 0, true: 1}[noSupervisor]
		if n := s.logged("recreate web"); n != want {
			t.Errorf("supervisor missing %v: %d times new pods", noSupervisor, n)
		}
		s.commands <- Command{Verb: CommandRestart, Service: "web"}
		if e := s.kind(2, EventServing, "web"); e.Action != actionRestart {
			t.Errorf("supervisor missing %v: asked for a restart, got %s", noSupervisor, e.Action)
		}
		if n := s.logged("recreate web"); n != 2*want {
			t.Errorf("supervisor missing %v: %d times new pods after a restart that was asked for", noSupervisor, n)
		}
	}
}

func TestSyncAndRestartWithoutASupervisorIsBuiltIn(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "conf/a": "1"})
	s.syncer.noSupervisor = true
	s.set(svc{Name: "web", Build: s.buildOf("web"), Watch: []types.Trigger{{Path: s.path("web"), Action: "sync+restart", Target: "/app"}}},
		svc{Name: "proxy", Image: "nginx", Watch: []types.Trigger{{Path: s.path("conf"), Action: "sync+restart", Target: "/etc"}}})
	s.dev(DevOptions{})
	s.up()
	s.write("web/main.go", "v2")
	s.kind(1, EventServing, "web")
	s.write("web/main.go", "v3")
	s.kind(2, EventServing, "web")
	s.write("conf/a", "2")
	s.kind(1, EventServing, "proxy")
	s.holds("web", "/app/main.go", "v3")
	s.holds("proxy", "/etc/a", "2")
	if b, r := s.logged("build p-web"), s.logged("recreate proxy"); b != 3 || r != 1 || s.logged("rerun web") != 1 {
		t.Errorf("%d builds of web, proxy replaced %d times", b, r)
	}
}

func TestWithoutASyncerFilesAreBuiltInOrHeld(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1", "conf/a": "1"})
	s.syncer = nil
	s.set(svc{Name: "web", Build: s.buildOf("web"), Watch: []types.Trigger{{Path: s.path("web"), Action: "sync", Target: "/app"}}},
		svc{Name: "proxy", Image: "nginx", Watch: []types.Trigger{{Path: s.path("conf"), Action: "sync", Target: "/etc"}}})
	s.dev(DevOptions{})
	s.up()
	s.write("web/main.go", "v2")
	s.holds("web", "/app/main.go", "v2")
	s.write("conf/a", "2")
	if e := s.kind(1, EventHold, "proxy"); !strings.Contains(e.Why, "no build section") {
		t.Errorf("hold %+v", e)
	}
}

func TestEditOfTheComposeFileIsApplied(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")}, svc{Name: "old", Image: "old"})
	s.dev(DevOptions{})
	s.up()
	one := "1"
	s.set(svc{Name: "web", Build: s.buildOf("web"), Environment: types.MappingWithEquals{"A": &one}}, svc{Name: "new", Image: "new"})
	s.write("compose.yaml", "2")
	e := s.kind(2, EventServing, "")
	if e.Cause != "source changed: compose.yaml" {
		t.Errorf("cause %q", e.Cause)
	}
	s.until("old is gone and new is there", func() bool { return s.services["old"] == nil && s.services["new"] != nil })
	if n := s.logged("build p-web"); n != 1 {
		t.Errorf("web was built %d times though only its environment changed", n)
	}

	s.projectMu.Lock()
	s.readErr = errors.New("compose.yaml:3: no such key")
	s.projectMu.Unlock()
	s.write("compose.yaml", "broken")
	if e := s.kind(1, EventFailed, ""); !strings.Contains(e.Error.Error(), "no such key") {
		t.Errorf("event %+v", e)
	}
	s.write("web/main.go", "v2") // the loop goes on with the project as it was
	s.holds("web", "/app/main.go", "v2")
	s.projectMu.Lock()
	s.readErr = nil
	s.projectMu.Unlock()
	s.set(svc{Name: "web", Build: &types.BuildConfig{Context: s.path("web"), Target: "dev"}})
	s.write("compose.yaml", "good again")
	s.kind(3, EventServing, "")
	s.until("new is gone too", func() bool { return s.services["new"] == nil })
	if n := s.logged("build p-web"); n != 3 {
		t.Errorf("web was built %d times; its build section changed", n)
	}
}

func TestEnvFileThatIsTriggerAndSourceCausesOneRollout(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "1"})
	one, two := "1", "2"
	watching := []types.Trigger{{Path: s.path("compose.yaml"), Action: "rebuild"}}
	s.set(svc{Name: "web", Build: s.buildOf("web"), Watch: watching, Environment: types.MappingWithEquals{"A": &one}})
	s.dev(DevOptions{})
	s.up()
	s.set(svc{Name: "web", Build: s.buildOf("web"), Watch: watching, Environment: types.MappingWithEquals{"A": &two}})
	s.write("compose.yaml", "A=2")
	s.kind(2, EventServing, "")
	s.kind(1, EventServing, "web")
	if b, a := s.logged("build p-web"), s.logged("apply web"); b != 2 || a != 2 {
		t.Errorf("%d builds, %d roll-outs for the start and one change", b, a)
	}
}

func TestCopiesOfBindMountsFollowTheHost(t *testing.T) {
	for _, agent := range []string{"", "/agent"} {
		s := newSession(t, map[string]string{"conf/a": "1"})
		s.binds = []translate.Bind{{Source: s.path("conf"), Target: "/etc/conf", How: translate.BindSnapshot}}
		s.agentDir = agent
		s.set(svc{Name: "web", Image: "w"})
		s.dev(DevOptions{})
		s.up()
		s.write("conf/b", "2")
		if agent == "" {
			s.kind(2, EventServing, "") // translated and applied again
			continue
		}
		s.holds("web", "/etc/conf/b", "2")
		if e := s.kind(1, EventServing, "web"); e.Action != "sync" || e.Why != "bind mount /etc/conf" {
			t.Errorf("event %+v", e)
		}
	}
}

func TestOneFileMayRebuildSeveralServices(t *testing.T) {
	s := newSession(t, map[string]string{"a/main.go": "1", "b/main.go": "1", "c/main.go": "1", "test": "1"})
	trigger := []types.Trigger{{Path: s.path("test"), Action: "rebuild"}}
	var services []svc
	for _, name := range []string{"a", "b", "c"} {
		services = append(services, svc{Name: name, Build: s.buildOf(name), Watch: trigger})
	}
	s.set(services...)
	s.dev(DevOptions{})
	s.up()
	s.write("test", "2")
	for _, name := range []string{"a", "b", "c"} {
		s.kind(1, EventServing, name)
		if n := s.logged("build p-" + name); n != 2 {
			t.Errorf("%s was built %d times", name, n)
		}
	}
}

func TestRebuildLeavesDependenciesAlone(t *testing.T) {
	s := newSession(t, map[string]string{"front/main.go": "1", "back/main.go": "1"})
	s.set(svc{Name: "front", Build: s.buildOf("front"), DependsOn: depends("back started")}, svc{Name: "back", Build: s.buildOf("back")})
	s.dev(DevOptions{})
	s.up()
	s.write("front/main.go", "2")
	s.kind(1, EventServing, "front")
	if n := s.logged("build p-back"); n != 1 {
		t.Errorf("back was built %d times", n)
	}
}

func TestSharedImageIsBuiltOncePerChange(t *testing.T) {
	s := newSession(t, map[string]string{"app/main.go": "1"})
	s.set(svc{Name: "web", Image: "app", Build: s.buildOf("app")}, svc{Name: "worker", Image: "app", Build: s.buildOf("app")})
	s.dev(DevOptions{})
	s.up()
	s.write("app/main.go", "2")
	s.kind(1, EventServing, "web")
	s.kind(1, EventServing, "worker")
	if n := s.logged("build app"); n != 2 {
		t.Errorf("built %d times", n)
	}
}

func TestPassingFailuresAreTriedAgain(t *testing.T) {
	for _, what := range []string{"load node-2", "apply web", "sync web", "publish"} {
		t.Run(what, func(t *testing.T) {
			s := newSession(t, map[string]string{"web/main.go": "v1", "web/package.json": "{}"})
			s.set(s.syncing("sync"), svc{Name: "x", Image: "x", Ports: port})
			s.dev(DevOptions{})
			s.up()
			s.mu.Lock()
			s.fault[what], s.once[what] = errors.New("connection refused"), true
			s.mu.Unlock()
			switch what {
			case "publish":
				s.write("compose.yaml", "2")
				s.kind(1, EventFailed, "")
				s.write("compose.yaml", "3")
				s.kind(2, EventServing, "")
				return
			case "sync web":
				s.write("src/f", "1")
			default:
				s.write("web/package.json", "{2}")
			}
			if e := s.kind(1, EventFailed, "web"); !strings.Contains(e.Why, "tried again in 1s") {
				t.Errorf("event %+v", e)
			}
			s.kind(1, EventServing, "web")
			if what == "sync web" {
				s.holds("web", "/srv/f", "1")
			} else {
				s.holds("web", "/app/package.json", "{2}")
			}
		})
	}
}

func TestServiceThatTheComposeFileCuresIsSaidToServe(t *testing.T) {
	s := newSession(t, nil)
	s.fault["pull missing"], s.fault["pull other"] = errors.New("no such image"), errors.New("no such image")
	s.set(svc{Name: "web", Image: "missing"}, svc{Name: "other", Image: "other"})
	s.dev(DevOptions{})
	s.kind(1, EventFailed, "web")
	s.kind(1, EventFailed, "other")
	s.set(svc{Name: "web", Image: "w"}, svc{Name: "other", Image: "other"})
	s.write("compose.yaml", "2")
	if e := s.kind(1, EventServing, "web"); e.Cause != "recovered" {
		t.Errorf("event %+v", e)
	}
	s.kind(2, EventFailed, "other")
}

func TestServiceThatIsLateCountsAsServingOnceItDoes(t *testing.T) {
	s := newSession(t, nil)
	s.fault["wait web"], s.once["wait web"] = errors.New("crash loop"), true
	s.set(svc{Name: "web", Image: "w"}, svc{Name: "front", Image: "f", DependsOn: depends("web healthy")})
	s.dev(DevOptions{})
	s.kind(1, EventFailed, "web")
	if e := s.kind(1, EventServing, "web"); e.Cause != "recovered" {
		t.Errorf("event %+v", e)
	}
	s.kind(1, EventServing, "front")
}

func TestOnceReturnsWhenAllServesOrCannot(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	s.dev(DevOptions{Once: true})
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	s.done <- nil

	bad := newSession(t, map[string]string{"web/main.go": "syntax error"})
	bad.set(svc{Name: "web", Build: bad.buildOf("web")})
	bad.dev(DevOptions{Once: true})
	var all *RunError
	if err := <-bad.done; !errors.As(err, &all) {
		t.Error(err)
	}
	bad.done <- nil
}

func TestCommandsOfTheUser(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")}, svc{Name: "db", Image: "d"})
	s.dev(DevOptions{})
	s.up()
	s.commands <- Command{Verb: CommandRebuild}
	s.kind(1, EventServing, "web")
	s.commands <- Command{Verb: CommandRestart, Service: "db"}
	s.kind(1, EventServing, "db")
	if s.logged("build p-web") != 2 || s.logged("recreate db") != 1 || s.logged("recreate web") != 0 {
		t.Errorf("log %v", s.log)
	}
}

func TestStopInTheMiddleOfAnything(t *testing.T) {
	for _, what := range []string{"build", "load", "apply", "wait", "pull", "publish", "sync"} {
		t.Run(what, func(t *testing.T) {
			s := newSession(t, map[string]string{"web/main.go": "v1", "src/a": "1"})
			s.set(s.syncing("sync", func(r *types.Trigger) { r.InitialSync = true }), svc{Name: "db", Image: "d", Ports: port})
			s.brake = func(ctx context.Context, entry string) error {
				if strings.HasPrefix(entry, what) {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			s.dev(DevOptions{})
			s.until(what+" runs", func() bool { return s.running[what] > 0 })
			s.write("web/main.go", "v2") // the clean-up ends it while this is on its way
		})
	}
}

// The user who ends the loop is not told that everything has failed.
func TestWhatEndsWithTheLoopHasNotFailed(t *testing.T) {
	for range 3 { // what is looked at first is left to chance
		s := newSession(t, map[string]string{"web/main.go": "v1"})
		s.set(svc{Name: "web", Build: s.buildOf("web")}, svc{Name: "db", Image: "d"})
		s.brake = func(ctx context.Context, entry string) error {
			if strings.HasPrefix(entry, "wait") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		s.onEvent = func(e Event) {
			if e.Kind == EventChange { // the loop is at work when it is to end
				s.cancel()
				s.until("nothing runs", func() bool { return s.running["wait"] == 0 })
			}
		}
		s.dev(DevOptions{})
		s.until("both are waited for", func() bool { return s.running["wait"] == 2 })
		s.write("web/main.go", "v2")
		err := <-s.done
		s.done <- err
		if text := s.eventText(); strings.Contains(text, `"failed"`) || strings.Contains(text, "canceled") {
			t.Fatal(text)
		}
	}
}

// TestStormConverges edits, breaks and heals at random, with faults in engine
// and cluster, and wants every container to have the files on disk in the end.
func TestStormConverges(t *testing.T) {
	for seed := range int64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSession(t, map[string]string{"web/main.go": "0", "web/package.json": "0", "api/main.go": "0", "src/a": "0"})
			services := []svc{s.syncing("sync"), {Name: "api", Build: s.buildOf("api"), DependsOn: depends("web started")}}
			s.set(services...)
			s.dev(DevOptions{})
			random := rand.New(rand.NewSource(seed))
			for i := range 150 {
				s.randomEdit(random, i)
				s.randomFault(random)
				if random.Intn(4) == 0 {
					s.pause()
				}
			}
			s.mu.Lock()
			clear(s.fault)
			s.brake = nil
			s.mu.Unlock()
			for _, f := range []string{"web/main.go", "web/package.json", "api/main.go"} {
				s.write(f, "final")
			}
			s.converge()
		})
	}
}

// pause waits for the next event, but not for long.
func (s *session) pause() {
	s.eventMu.Lock()
	news := s.news
	s.eventMu.Unlock()
	select {
	case <-news:
	case <-time.After(30 * time.Millisecond):
	}
}

func (s *session) randomEdit(random *rand.Rand, i int) {
	content := fmt.Sprint(i)
	switch random.Intn(8) {
	case 0:
		s.write("web/package.json", content)
	case 1:
		s.write("api/main.go", content)
	case 2:
		s.write("api/main.go", "syntax error "+content)
	case 3:
		_ = os.RemoveAll(s.path("src/d"))
	case 4:
		s.write("src/d/"+content, content)
	case 5:
		s.write("compose.yaml", content)
	case 6:
		s.mu.Lock()
		state := s.services["web"]
		runs := state != nil && len(state.pods) > 0
		s.mu.Unlock()
		if runs {
			s.killPod("web")
		}
	default:
		s.write(fmt.Sprintf("src/%d", random.Intn(5)), content)
	}
}

func (s *session) randomFault(random *rand.Rand) {
	names := []string{"build p-web", "build p-api", "load node-1", "wait web", "sync web", "apply api"}
	name := names[random.Intn(len(names))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if random.Intn(4) == 0 {
		s.fault[name], s.once[name] = errors.New("random fault"), true
	}
}

// converge waits until the containers hold what is on disk.
func (s *session) converge() {
	s.t.Helper()
	disk, err := readTree(s.path("src"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("the containers hold the files on disk", func() bool {
		for _, service := range []string{"web", "api"} {
			state := s.services[service]
			if state == nil || len(state.pods) == 0 {
				return false
			}
			for _, p := range state.pods {
				if p.files["/app/main.go"] != "final" || service == "web" && !synced(p.files, disk) {
					return false
				}
			}
		}
		return true
	})
}

// synced compares what is under /srv with the disk. Files that were there
// before the loop began are not synced (initial_sync is off).
func synced(files, disk map[string]string) bool {
	got := map[string]string{}
	for name, content := range files {
		if rel, ok := strings.CutPrefix(name, "/srv/"); ok {
			got[rel] = content
		}
	}
	want := maps.Clone(disk)
	if want["a"] == "0" {
		delete(want, "a")
	}
	return maps.Equal(got, want)
}

func TestGroupsKeepApartWhatMayRunAtOnce(t *testing.T) {
	p := project("p", svc{Name: "a", Image: "x"}, svc{Name: "b", Image: "x"}, svc{Name: "c", Image: "c"},
		svc{Name: "d", Image: "d", DependsOn: depends("c healthy restart")}, svc{Name: "e", Image: "e", NetworkMode: "service:f"}, svc{Name: "f", Image: "f"},
		svc{Name: "g", Image: "g", Build: &types.BuildConfig{Context: "/g", AdditionalContexts: types.Mapping{"l": "service:h"}}}, svc{Name: "h", Image: "h"},
		svc{Name: "i", Image: "i", DependsOn: depends("a healthy")})
	in := translate.Input{Project: p}
	result, _ := fakeTranslate(in, translate.Target{})
	w, err := newWant(in, result, UpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := "a=a\nb=a\nc=c\nd=c\ne=e\nf=e\ng=g\nh=g\ni=i"
	if got := sorted(groups(w)); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestRulesThatCannotWorkAreSaid(t *testing.T) {
	dir := t.TempDir()
	rules := []types.Trigger{
		{Path: dir, Action: "sync", Target: "relative"}, {Path: dir, Action: "rebuild", Target: "/x"}, {Path: dir, Action: "restart", Target: "/x"},
		{Path: dir, Action: "sync+exec", Target: "/x"}, {Path: dir, Action: "sync", Target: "/x", Include: []string{"*.nothing"}},
		{Path: dir + "/later", Action: "sync", Target: "/x", Include: []string{"*.go"}},
	}
	in := translate.Input{Project: project("p", svc{Name: "web", Image: "w", Watch: rules})}
	result, _ := fakeTranslate(in, translate.Target{})
	w, _ := newWant(in, result, UpOptions{})
	set, err := newWatchSet(w, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`services.web.develop.watch[0]: target "relative" is not an absolute path in the container; the rule is left out`,
		`services.web.develop.watch[1]: the service has no build section; the rule is left out`,
		`services.web.develop.watch[2]: target is not used by action restart`,
		`services.web.develop.watch[3]: exec has no command; the files are only synced`,
		`services.web.develop.watch[4]: include matches no file now`,
		`services.web.develop.watch[5]: path "` + dir + `/later" is not there now; the rule waits for it`,
	}
	if !slices.Equal(set.warnings, want) || len(set.rules) != 4 {
		t.Errorf("%d rules, warnings\n%s", len(set.rules), strings.Join(set.warnings, "\n"))
	}
}

func TestRebuildThatNamesATargetIsDoneAndTheTargetSaidToBeOfNoUse(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web"), Watch: []types.Trigger{{Path: s.path("web"), Action: "rebuild", Target: "/app"}}})
	s.dev(DevOptions{})
	s.up()
	if e := s.kind(1, EventWarn, ""); e.Why != "services.web.develop.watch[0]: target is not used by action rebuild" {
		t.Errorf("event %+v", e)
	}
	s.write("web/main.go", "v2")
	s.holds("web", "/app/main.go", "v2")
}

func TestPathThatVanishesIsSaidAndSyncedWhenItIsBack(t *testing.T) {
	s := newSession(t, map[string]string{"src/a": "1"})
	s.set(svc{Name: "web", Image: "w", Watch: []types.Trigger{{Path: s.path("src"), Action: "sync", Target: "/app"}}})
	s.dev(DevOptions{})
	s.up()
	if err := os.RemoveAll(s.path("src")); err != nil {
		t.Fatal(err)
	}
	if e := s.kind(1, EventWarn, "web"); e.Why != `develop.watch[0]: path "src" is gone; the rule waits for it` {
		t.Errorf("event %+v", e)
	}
	s.write("src/a", "2")
	s.holds("web", "/app/a", "2")
}

func TestTargetsInTheContainer(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "1")
	for _, c := range []struct{ path, target, name, want string }{
		{dir, "/app", dir + "/a/b", "/app/a/b"},
		{dir, "/app/", dir + "/a", "/app/a"},
		{dir, "/app/../etc", dir + "/a", "/etc/a"},
		{dir + "/f", "/etc/f.conf", dir + "/f", "/etc/f.conf"},
		{dir + "/f", "/etc/", dir + "/f", "/etc/f"},
		{dir, "/app", dir, "/app"},
	} {
		if got := (rule{path: c.path, target: c.target}).inContainer(c.name); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestDirtOfManyFilesMergesQuickly(t *testing.T) {
	var d dirt
	for i := range 20 {
		var files []model.FileSync
		for f := range 10000 {
			files = append(files, model.FileSync{Source: "/s", Target: fmt.Sprintf("/t/%d", f), Op: model.FileWritten})
		}
		d.merge(dirt{seq: uint64(i), files: files})
	}
	if len(d.files) != 10000 || d.seq != 19 {
		t.Errorf("%d files", len(d.files))
	}
}

func TestEventsAsJSONAndWaterfall(t *testing.T) {
	e := Event{Time: time.Unix(0, 0), Kind: EventServing, Service: "web", Seq: 3, Steps: []Step{{"watch", Millis(2 * time.Millisecond)}, {"build", Millis(140400 * time.Microsecond)}}, Total: Millis(142400 * time.Microsecond)}
	data, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"1970-01-01T00:00:00Z","event":"serving","service":"web","seq":3,"steps":[{"name":"watch","ms":2.000},{"name":"build","ms":140.400}],"totalMs":142.400}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	all := Event{
		Time: time.Unix(0, 0), Kind: EventFailed, Service: "web", Phase: PhaseFailed, Seq: 3, Cause: "c", Action: "rebuild", Why: "w", How: "h",
		Files: 2, Replicas: 3, Error: errors.New("no\nroom"), Line: "l",
	}
	data, err = all.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	want = `{"time":"1970-01-01T00:00:00Z","event":"failed","service":"web","phase":"failed","seq":3,"cause":"c","action":"rebuild","why":"w","how":"h",` +
		`"files":2,"replicas":3,"error":"no\nroom","line":"l"}`
	if string(data) != want {
		t.Errorf("the README promises another form: got  %s\nwant %s", data, want)
	}
	if got := e.Waterfall(); got != "watch 2 · build 140 -> serving in 142 ms" {
		t.Error(got)
	}
}

// restarting is a service whose program runs under the supervisor.
func (s *session) restarting(replicas int) svc {
	return svc{Name: "web", Image: "w", Scale: &replicas, Watch: []types.Trigger{{Path: s.path("src"), Target: "/src", Action: types.WatchActionSyncRestart}}}
}

func TestProgramThatEndsIsReportedAndCuredByTheNextChange(t *testing.T) {
	s := newSession(t, map[string]string{"src/a": "1"})
	s.set(s.restarting(3))
	s.dev(DevOptions{})
	s.up()
	s.until("the program runs", func() bool { return len(s.services["web"].pods) == 3 })
	s.endProgram("web", 1, 3)
	e := s.kind(1, EventFailed, "web")
	if e.Phase != PhaseFailed || !strings.Contains(e.Error.Error(), "exit status 3") || !strings.Contains(e.Error.Error(), "last words") {
		t.Errorf("event %+v", e)
	}
	s.write("src/a", "2")
	if e := s.kind(1, EventServing, "web"); e.Action != "sync+restart" || e.Phase != PhaseServing {
		t.Errorf("event %+v", e)
	}
	if n := s.logged("apply web"); n != 1 {
		t.Errorf("the service was applied %d times: its container was all right", n)
	}
	s.endProgram("web", 0, 4)
	s.kind(2, EventFailed, "web")
}

func TestProgramThatEndsWellIsNoFailure(t *testing.T) {
	s := newSession(t, map[string]string{"src/a": "1"})
	s.set(s.restarting(1))
	s.dev(DevOptions{})
	s.up()
	s.until("the program runs", func() bool { return len(s.services["web"].pods) == 1 })
	s.endProgram("web", 0, 0)
	s.write("src/a", "2")
	s.kind(1, EventServing, "web")
	if strings.Contains(s.eventText(), `"failed"`) {
		t.Error("exit status 0 was reported as a failure")
	}
}

func TestContainerThatCrashesLaterIsLookedInto(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web")})
	s.dev(DevOptions{})
	s.up()
	s.mu.Lock()
	s.fault["wait web"], s.once["wait web"] = errors.New("it crashes: exit code 1"), true
	s.services["web"].pods[0].reason = "CrashLoopBackOff"
	s.notify()
	s.mu.Unlock()
	e := s.kind(1, EventFailed, "web")
	if !strings.Contains(e.Error.Error(), "exit code 1") {
		t.Errorf("event %+v", e)
	}
	s.mu.Lock()
	s.services["web"].pods[0].reason = ""
	s.notify()
	s.mu.Unlock()
	if e := s.kind(1, EventServing, "web"); e.Cause != "recovered" {
		t.Errorf("event %+v", e)
	}
}

func TestRebuildSwapsTheImageOrSaysWhyNot(t *testing.T) {
	s := newSession(t, map[string]string{"web/main.go": "v1"})
	s.set(svc{Name: "web", Build: s.buildOf("web"), Scale: three()})
	s.dev(DevOptions{})
	s.up()
	if n := s.logged("swap web"); n != 0 {
		t.Errorf("%d swaps of what did not run", n)
	}
	unrecorded := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.built["p-web"].Unrecorded
	}
	if unrecorded() {
		t.Error("the first build leaves no record in the engine's history")
	}
	s.write("web/main.go", "v2")
	s.holds("web", "/app/main.go", "v2")
	if !unrecorded() {
		t.Error("every save fills the engine's history of builds")
	}
	if e := s.kind(1, EventServing, "web"); e.How != "swapped in place" {
		t.Errorf("how: %q", e.How)
	}
	s.mu.Lock()
	s.noSwap = "more than its image has changed"
	s.mu.Unlock()
	s.write("web/main.go", "v3")
	s.holds("web", "/app/main.go", "v3")
	if e := s.kind(2, EventServing, "web"); e.How != "rolled out: more than its image has changed" {
		t.Errorf("how: %q", e.How)
	}
}
