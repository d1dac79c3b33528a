package apply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// project reads "web: db cache; db" as services in Deployments of their own;
// "web/pod" runs in the Deployment pod.
func statesOf(text string) []model.ServiceState {
	var states []model.ServiceState
	for _, line := range strings.Split(text, ";") {
		name, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, workload, _ := strings.Cut(name, "/")
		if workload == "" {
			workload = name
		}
		s := model.ServiceState{Service: name, Kind: "Deployment", Name: workload}
		for _, d := range strings.Fields(deps) {
			s.DependsOn = append(s.DependsOn, model.Dependency{Service: d, Condition: model.WaitStarted, Required: true})
		}
		states = append(states, s)
	}
	return states
}

func TestNeedsAreReadAsTranslateWritesThem(t *testing.T) {
	got := needs("db:service_healthy,cache:service_started:restart,log:service_started:optional,x")
	want := []model.Dependency{
		{Service: "db", Condition: model.WaitHealthy, Required: true},
		{Service: "cache", Condition: model.WaitStarted, Required: true, Restart: true},
		{Service: "log", Condition: model.WaitStarted},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOrderIsThatOfPodsAndHasNoCircle(t *testing.T) {
	for project, want := range map[string]string{
		"web: db; db":                            "web<-, db<-web",
		"web: gone":                              "web<-",
		"a: side; host; side/host":               "a<-, host<-a, side<-a", // they share pods: both end after a
		"host: side; side/host: host":            "host<-, side<-",
		"a: b; b: a":                             "a<-, b<-a",
		"a: b c; b: d; c: d; d":                  "a<-, b<-a, c<-a, d<-b c",
		"in/pod: out; out: pod; pod: out; other": "in<-, out<-in, pod<-out, other<-",
	} {
		states := statesOf(project)
		dependents := orderOf(states).reversed()
		var got []string
		for _, s := range states {
			var names []string
			for _, d := range dependents[s.Service] {
				names = append(names, d.Service)
			}
			got = append(got, s.Service+"<-"+strings.Join(names, " "))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s\ngot  %s\nwant %s", project, strings.Join(got, ", "), want)
		}
	}
}

// eventLog is a sink that keeps how tasks ended.
type eventLog struct {
	mu   sync.Mutex
	ends map[string]progress.State
}

func (l *eventLog) Report(e progress.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.State != progress.Running {
		l.ends[e.Task] = e.State
	}
}

func TestStepsGoOnAsSoonAsThoseBeforeAllowIt(t *testing.T) {
	sink := &eventLog{ends: map[string]progress.State{}}
	p := &Project{sink: sink}
	required := func(names ...string) (deps []model.Dependency) {
		for _, n := range names {
			deps = append(deps, model.Dependency{Service: n, Required: true})
		}
		return deps
	}
	broken := errors.New("broken")
	webBegun := make(chan struct{})
	err := p.inOrder(t.Context(), []step{
		{service: "web", after: required("db"), do: func(context.Context, func()) error { close(webBegun); return nil }},
		{service: "db", do: func(_ context.Context, release func()) error {
			release()
			<-webBegun // it begins before this has ended
			return nil
		}},
		{service: "bad", do: func(context.Context, func()) error { return broken }},
		{service: "kept back", after: required("bad"), do: func(context.Context, func()) error { t.Error("it came after one that failed"); return nil }},
		{service: "nothing", after: required("kept back")},
		{service: "after nothing", after: required("nothing"), do: func(context.Context, func()) error { t.Error("so did this"); return nil }},
		{service: "optional", after: []model.Dependency{{Service: "bad"}}, do: func(context.Context, func()) error { return nil }},
	}, "doing", "done")
	if !errors.Is(err, broken) || err.Error() != broken.Error() {
		t.Errorf("got %v, want that of the step that failed alone", err)
	}
	want := map[string]progress.State{"web": progress.Done, "db": progress.Done, "bad": progress.Failed, "kept back": progress.Skipped,
		"after nothing": progress.Skipped, "optional": progress.Done}
	for name, state := range want {
		if sink.ends[name] != state {
			t.Errorf("%s ended as %q, want %q", name, sink.ends[name], state)
		}
	}
	if len(sink.ends) != len(want) {
		t.Errorf("reported %v", sink.ends)
	}
}

func TestInterruptedStepsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := (&Project{sink: progress.Discard}).inOrder(ctx, []step{
		{service: "web", do: func(ctx context.Context, _ func()) error { cancel(); <-ctx.Done(); return ctx.Err() }},
		{service: "db", after: []model.Dependency{{Service: "web", Required: true}}, do: func(context.Context, func()) error { t.Error("it began"); return nil }},
	}, "", "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
