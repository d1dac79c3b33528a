package devloop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

const testPatience = 20 * time.Second

func contextDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNoStartCreatesServicesWithoutPods(t *testing.T) {
	w := newWorld(t)
	p := project("shop", svc{Name: "web", Image: "nginx", DependsOn: depends("db healthy")}, svc{Name: "db", Image: "postgres:17"})
	result, err := New(w.deps(p)).Up(t.Context(), UpOptions{NoStart: true})
	if err != nil || !result.Changes.Changed() {
		t.Fatalf("%+v: %v", result, err)
	}
	states, err := w.Observe(t.Context())
	if err != nil || len(states) != 2 {
		t.Fatalf("%+v: %v", states, err)
	}
	for _, s := range states {
		if len(s.Pods) > 0 {
			t.Errorf("%s runs: %+v", s.Service, s.Pods)
		}
	}
}

func TestSecondUpChangesNothing(t *testing.T) {
	w := newWorld(t)
	dir := contextDir(t, map[string]string{"main.go": "v1"})
	p := project("shop",
		svc{Name: "web", Build: &types.BuildConfig{Context: dir}, Ports: []types.ServicePortConfig{{Target: 80}}, DependsOn: depends("db healthy")},
		svc{Name: "db", Image: "postgres:17"})
	e := New(w.deps(p))
	first, err := e.Up(t.Context(), UpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !first.Changes.Changed() || len(first.Ports) != 1 || first.Ports[0].HostPort == 0 || len(first.URLs) != 1 {
		t.Fatalf("first up: %+v", first)
	}
	second, err := e.Up(t.Context(), UpOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Changes.Changed() || len(second.Changes) != 4 {
		t.Errorf("second up changed something: %v", second.Changes)
	}
	for _, l := range second.Loads {
		if l.Outcome != model.LoadPresent {
			t.Errorf("second up loaded %v", l)
		}
	}
}

func TestAFailureSkipsItsBranchOnly(t *testing.T) {
	for name, fault := range map[string]struct {
		what    string
		failed  string
		started []string
	}{
		"build fails":          {"build shop-web", "build shop-web: broken", []string{"db", "other"}},
		"load fails on a node": {"load node-2", "load image", nil},
		"wait fails":           {"wait db", "wait db: broken", []string{"db", "other"}},
		"publish fails":        {"publish", "publish: broken", []string{"db", "other", "web", "front"}},
		"pull fails":           {"pull postgres:17", "pull postgres:17: broken", []string{"other"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fault[fault.what] = errors.New("broken")
			dir := contextDir(t, map[string]string{"main.go": "v1"})
			p := project("shop",
				svc{Name: "web", Build: &types.BuildConfig{Context: dir}, DependsOn: depends("db healthy")},
				svc{Name: "front", Image: "nginx", DependsOn: depends("web started"), Ports: []types.ServicePortConfig{{Target: 80}}},
				svc{Name: "db", Image: "postgres:17"},
				svc{Name: "other", Image: "redis"})
			_, err := New(w.deps(p)).Up(t.Context(), UpOptions{})
			var all *RunError
			if !errors.As(err, &all) || !strings.Contains(err.Error(), fault.failed) {
				t.Fatalf("got error %v", err)
			}
			states, _ := w.Observe(t.Context())
			var started []string
			for _, s := range states {
				started = append(started, s.Service)
			}
			slices.Sort(fault.started)
			if !slices.Equal(started, fault.started) {
				t.Errorf("started %v, want %v", started, fault.started)
			}
		})
	}
}

func TestEveryFailureIsListedOnce(t *testing.T) {
	w := newWorld(t)
	w.fault["pull a"], w.fault["pull b"] = errors.New("one"), errors.New("two")
	p := project("p", svc{Name: "a", Image: "a"}, svc{Name: "b", Image: "b"},
		svc{Name: "c", Image: "c", DependsOn: depends("a started")})
	_, err := New(w.deps(p)).Up(t.Context(), UpOptions{})
	want := "pull a: one\npull b: two\nnot done for it: Load image:a, Load image:b, Apply object:Deployment/a, Apply object:Deployment/c, Apply object:Deployment/b, Prune project"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestOptionalDependencyMayFail(t *testing.T) {
	w := newWorld(t)
	w.fault["wait cache"] = errors.New("no")
	p := project("p", svc{Name: "cache", Image: "c"}, svc{Name: "web", Image: "w", DependsOn: depends("cache healthy optional")})
	_, err := New(w.deps(p)).Up(t.Context(), UpOptions{})
	if err == nil || w.services["web"] == nil {
		t.Errorf("error %v, web %v", err, w.services["web"])
	}
}

func TestDependentOfAReplacedServiceRestarts(t *testing.T) {
	w := newWorld(t)
	dir := contextDir(t, map[string]string{"main.go": "v1"})
	p := project("p",
		svc{Name: "db", Build: &types.BuildConfig{Context: dir}},
		svc{Name: "web", Image: "w", DependsOn: depends("db healthy restart")},
		svc{Name: "free", Image: "w", DependsOn: depends("db healthy")})
	e := New(w.deps(p))
	var names []string
	for _, content := range []string{"v1", "v1", "v2"} {
		write(t, filepath.Join(dir, "main.go"), content)
		if _, err := e.Up(t.Context(), UpOptions{}); err != nil {
			t.Fatal(err)
		}
		names = append(names, w.services["web"].pods[len(w.services["web"].pods)-1].name, w.services["free"].pods[0].name)
	}
	if names[0] != names[2] || names[2] == names[4] || names[1] != names[5] {
		t.Errorf("pods of web and free after each up: %v", names)
	}
}

func TestForceRecreateReplacesPodsOnce(t *testing.T) {
	w := newWorld(t)
	p := project("p", svc{Name: "web", Image: "w"}, svc{Name: "db", Image: "d"})
	e := New(w.deps(p))
	for _, opts := range []UpOptions{{ForceRecreate: true}, {ForceRecreate: true, Services: []string{"web"}}} {
		if _, err := e.Up(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	if w.logged("recreate web") != 1 || w.logged("recreate db") != 0 {
		t.Errorf("log: %v", w.log)
	}
}

func TestDependenciesAreRecreatedWhereAsked(t *testing.T) {
	w := newWorld(t)
	p := project("p", svc{Name: "web", Image: "w", DependsOn: depends("db started")}, svc{Name: "db", Image: "d"})
	e := New(w.deps(p))
	for _, opts := range []UpOptions{{}, {RecreateDeps: true}, {RecreateDeps: true, Services: []string{"web"}}} {
		if _, err := e.Up(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	if w.logged("recreate web") != 0 || w.logged("recreate db") != 1 {
		t.Errorf("log: %v", w.log)
	}
}

func TestPullsAndBuildsAreQuietWhereAsked(t *testing.T) {
	for want, opts := range map[string]UpOptions{
		"build p-web, pull d": {Build: true}, "build p-web": {Build: true, QuietPull: true}, "pull d": {Build: true, QuietBuild: true},
	} {
		w := newWorld(t)
		deps := w.deps(project("p", svc{Name: "web", Build: &types.BuildConfig{Context: contextDir(t, map[string]string{"main.go": "1"})}}, svc{Name: "db", Image: "d"}))
		var mu sync.Mutex
		var heard []string
		deps.Sink = progress.SinkFunc(func(e progress.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Task == "build" || e.Task == "pull" {
				heard = append(heard, e.Task+" "+e.Text)
			}
		})
		if _, err := New(deps).Up(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		slices.Sort(heard)
		if got := strings.Join(heard, ", "); got != want {
			t.Errorf("%+v: heard %q, want %q", opts, got, want)
		}
	}
}

func TestScaleAndUnknownServices(t *testing.T) {
	w := newWorld(t)
	p := project("p", svc{Name: "web", Image: "w"})
	e := New(w.deps(p))
	if _, err := e.Up(t.Context(), UpOptions{Scale: map[string]int{"web": 3}}); err != nil {
		t.Fatal(err)
	}
	if n := len(w.services["web"].pods); n != 3 {
		t.Errorf("%d pods, want 3", n)
	}
	if p.Services["web"].Scale != nil {
		t.Error("the project itself was changed")
	}
	for _, opts := range []UpOptions{{Services: []string{"nope"}}, {Scale: map[string]int{"nope": 1}}, {Scale: map[string]int{"web": -1}}} {
		if _, err := e.Up(t.Context(), opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
}

func TestOrphansStayUnlessAskedFor(t *testing.T) {
	w := newWorld(t)
	if _, err := New(w.deps(project("p", svc{Name: "web", Image: "w"}, svc{Name: "old", Image: "o"}))).Up(t.Context(), UpOptions{}); err != nil {
		t.Fatal(err)
	}
	e := New(w.deps(project("p", svc{Name: "web", Image: "w"})))
	result, err := e.Up(t.Context(), UpOptions{})
	if err != nil || !slices.Equal(result.Orphans, []string{"old"}) || w.services["old"] == nil {
		t.Fatalf("orphans %v, error %v", result.Orphans, err)
	}
	if _, err := e.Up(t.Context(), UpOptions{RemoveOrphans: true}); err != nil || w.services["old"] != nil {
		t.Errorf("old is still there, error %v", err)
	}
}

func TestWhatWouldNotRunAsWrittenStopsUp(t *testing.T) {
	w := newWorld(t)
	deps := w.deps(project("p", svc{Name: "web", Image: "w"}, svc{Name: "db", Image: "d"}))
	deps.Translate = func(in translate.Input, target translate.Target) (translate.Result, error) {
		r, err := fakeTranslate(in, target)
		r.Report = []translate.Entry{{
			Path: "services.db.volumes[0]", Position: translate.Position{File: "compose.yaml", Line: 7}, Status: translate.Dropped,
			Done: "left out", Do: "berth cluster create --mount data", Blocks: true,
		}}
		return r, err
	}
	_, err := New(deps).Up(t.Context(), UpOptions{})
	if err == nil || err.Error() != `bring up project "p": compose.yaml:7: services.db.volumes[0]: left out` || problem.Hint(err) != "berth cluster create --mount data" || len(w.log) != 0 {
		t.Errorf("error %v, log %v", err, w.log)
	}
	if _, err := New(deps).Up(t.Context(), UpOptions{Services: []string{"web"}}); err != nil {
		t.Error(err)
	}
}

func TestBuildsRunAtOnceWithinTheLimit(t *testing.T) {
	w := newWorld(t)
	dir := contextDir(t, map[string]string{"main.go": "v1"})
	var services []svc
	for i := range 6 {
		services = append(services, svc{Name: fmt.Sprintf("s%d", i), Build: &types.BuildConfig{Context: dir}})
	}
	release := make(chan struct{})
	w.brake = func(ctx context.Context, what string) error {
		if strings.HasPrefix(what, "build") {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return nil
	}
	done := make(chan error)
	go func() {
		deps := w.deps(project("p", services...))
		deps.Parallel = 3
		_, err := New(deps).Up(t.Context(), UpOptions{})
		done <- err
	}()
	w.until("three builds at once", func() bool { return w.running["build"] == 3 })
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w.peak["build"] != 3 {
		t.Errorf("%d builds at once, want 3", w.peak["build"])
	}
}

func TestCancelInTheMiddleLeavesNothingRunning(t *testing.T) {
	for _, what := range []string{"build", "load", "apply", "wait", "publish", "pull"} {
		t.Run(what, func(t *testing.T) {
			before := runtime.NumGoroutine()
			w := newWorld(t)
			w.brake = func(ctx context.Context, s string) error {
				if strings.HasPrefix(s, what) {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			dir := contextDir(t, map[string]string{"main.go": "v1"})
			p := project("p", svc{Name: "web", Build: &types.BuildConfig{Context: dir}, Ports: []types.ServicePortConfig{{Target: 80}}},
				svc{Name: "db", Image: "d"})
			done := make(chan error)
			go func() {
				_, err := New(w.deps(p)).Up(ctx, UpOptions{})
				done <- err
			}()
			w.until(what+" runs", func() bool { return w.running[what] > 0 })
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			noLeak(t, before)
		})
	}
}

// noLeak waits until no more goroutines run than before.
func noLeak(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(testPatience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}
