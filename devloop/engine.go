package devloop

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// An Engine gets a compose project onto a cluster. Its methods must not be
// called at once.
type Engine struct {
	deps Deps
}

// New returns an Engine over deps.
func New(deps Deps) *Engine {
	if deps.Sink == nil {
		deps.Sink = progress.Discard
	}
	if deps.Events == nil {
		deps.Events = func(Event) {}
	}
	if deps.Clock == nil {
		deps.Clock = watch.SystemClock{}
	}
	return &Engine{deps: deps}
}

// Up makes the cluster what the project says, as far as opts asks, and waits
// until it serves. A failed branch does not stop the others; the error is then
// a *RunError that lists all, and the result tells what was done.
func (e *Engine) Up(ctx context.Context, opts UpOptions) (UpResult, error) {
	want, have, err := e.prepare(ctx, opts, nil)
	if err != nil {
		return UpResult{}, err
	}
	result, _, err := e.execute(ctx, want, have, Dirty{All: "up"})
	return result, err
}

// Plan returns what Up would do, and does nothing.
func (e *Engine) Plan(ctx context.Context, opts UpOptions) (Plan, error) {
	want, have, err := e.prepare(ctx, opts, nil)
	if err != nil {
		return Plan{}, err
	}
	return Decide(want, have, Dirty{All: "up"}), nil
}

// An unobserved is why the cluster could not be observed: nothing is wrong with
// the project.
type unobserved struct{ error }

// Unwrap returns the reason.
func (e unobserved) Unwrap() error { return e.error }

// prepare reads and translates the project and observes the cluster. facts are
// the images that are known already. With an error Want has the files at least
// that were looked at.
func (e *Engine) prepare(ctx context.Context, opts UpOptions, facts map[string]model.ImageFacts) (Want, Have, error) {
	in, err := e.deps.Read(ctx)
	looked := Want{Input: in}
	if err != nil {
		return looked, Have{}, err
	}
	in, err = scaled(in, opts.Scale)
	if err != nil {
		return looked, Have{}, err
	}
	result, err := e.deps.Translate(withFacts(in, facts), e.deps.Target)
	if err != nil {
		return looked, Have{}, err
	}
	want, err := newWant(in, result, opts)
	if err != nil {
		return looked, Have{}, err
	}
	if err := want.blocked(); err != nil {
		return looked, Have{}, err
	}
	states, err := e.deps.Applier.Observe(ctx)
	if err != nil {
		return looked, Have{}, unobserved{err}
	}
	have := Have{Facts: facts, Services: map[string]model.ServiceState{}}
	for _, s := range states {
		have.Services[s.Service] = s
	}
	want.holdExisting(have)
	return want, have, nil
}

// scaled returns in with the replicas of some services replaced.
func scaled(in translate.Input, scale map[string]int) (translate.Input, error) {
	if len(scale) == 0 {
		return in, nil
	}
	project := *in.Project
	project.Services = maps.Clone(project.Services)
	for name, n := range scale {
		s, ok := project.Services[name]
		if !ok {
			continue // newWant names it
		}
		if n < 0 {
			return in, problem.New(fmt.Sprintf("scale service %q", name), fmt.Errorf("%d replicas", n), "give a number from 0")
		}
		if s.Deploy != nil {
			deploy := *s.Deploy
			s.Deploy = &deploy
		}
		s.SetScale(n)
		project.Services[name] = s
	}
	in.Project = &project
	return in, nil
}

// execute decides and carries out.
func (e *Engine) execute(ctx context.Context, want Want, have Have, dirty Dirty) (UpResult, *turn, error) {
	plan := Decide(want, have, dirty)
	t := newTurn(e.deps, want, have, dirty)
	f := newFlight(plan, limits(e.deps.Parallel))
	run(ctx, f, t.do, e.skipped(want))
	for _, h := range plan.Holds {
		progress.Say(e.deps.Sink, progress.Note, h.Subject, h.Why)
	}
	return t.upResult(), t, f.err(ctx)
}

// limits bounds what the engine and the nodes do at once.
func limits(parallel int) map[Verb]int {
	parallel = cmp.Or(parallel, 8)
	return map[Verb]int{Build: parallel, Pull: parallel, Load: min(4, parallel), Apply: 16}
}

// skipped reports actions that are not started, under the names that the work
// itself would have. Waits are left out: users miss the service, not the wait.
func (e *Engine) skipped(want Want) func(Action, string) {
	return func(a Action, reason string) {
		if a.Verb == Wait || reason == "interrupted" || reason == errSuperseded.Error() {
			return
		}
		task := map[Verb]string{Publish: "publish ports", Prune: "remove what the project no longer has"}[a.Verb]
		switch {
		case a.Image != "":
			i := slices.IndexFunc(want.Result.Images, func(img translate.Image) bool { return img.Ref == a.Image })
			task = strings.ToLower(string(a.Verb)) + " " + strings.Join(want.Result.Images[i].Services, ", ")
		case a.Service != "":
			task = "start " + a.Service
		case a.Verb == Apply:
			task = "apply project"
		}
		e.deps.Sink.Report(progress.Event{Time: time.Now(), Task: task, State: progress.Skipped, Text: reason})
	}
}

// upResult gathers what the turn did.
func (t *turn) upResult() UpResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := UpResult{
		Project: t.result.Project, Namespace: t.result.Namespace, Ports: t.ports, Report: t.result.Report,
		Changes: t.changes, Loads: t.loads, HTTP: map[string]bool{},
	}
	for _, s := range t.result.Services {
		if t.want.Select[s.Name] {
			r.URLs = append(r.URLs, s.URLs...)
		}
		r.HTTP[s.Name] = len(s.URLs) > 0
	}
	r.URLs = slices.Compact(r.URLs)
	if !t.want.Options.RemoveOrphans {
		r.Orphans = t.want.orphans(t.have)
	}
	return r
}
