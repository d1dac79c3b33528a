package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// A running is a compose project as the cluster has it: what ps, logs, exec
// and their like work with.
type running struct {
	*apply.Project
	kube   *kube.Client
	name   string
	known  []string             // services of the compose file; none with --project-name alone
	states []model.ServiceState // services in the cluster, sorted by name
}

// running looks at the project of the compose file, or of --project-name
// alone, on the cluster. Services that the user named must be in one of them.
func (app *App) running(ctx context.Context, named []string) (*running, error) {
	name, known, err := app.names(ctx)
	if err != nil {
		return nil, err
	}
	r := &running{name: name, known: known}
	if err := r.observe(ctx, app); err != nil {
		if unknown := r.refuseUnknown(named); len(r.known) > 0 && unknown != nil {
			return nil, unknown // by the compose file, which is all there is to ask
		}
		return nil, err
	}
	if err := r.refuseUnknown(named); err != nil {
		return nil, err
	}
	return r, nil
}

// observe looks at the project on the cluster.
func (r *running) observe(ctx context.Context, app *App) (err error) {
	if r.kube, err = app.kube(); err != nil {
		return err
	}
	r.Project = apply.New(r.kube, r.name, translate.Namespace(r.name), app.sink())
	r.states, err = r.Observe(ctx)
	return err
}

// refuseUnknown returns an error for a name that is no service's of the compose
// file or the cluster.
func (r *running) refuseUnknown(named []string) error {
	for _, name := range named {
		if !slices.Contains(r.known, name) && r.state(name) == nil {
			return unknownService(name, r.all())
		}
	}
	return nil
}

// unknownService is the error of a name that is none of the known services'.
func unknownService(name string, known []string) error {
	return problem.New(fmt.Sprintf("no service %q in the project", name), nil, suggestion(name, known))
}

// all names every service of the compose file and the cluster, sorted.
func (r *running) all() []string {
	names := slices.Clone(r.known)
	for _, s := range r.states {
		names = append(names, s.Service)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// state is what the cluster has of a service, nil for nothing.
func (r *running) state(service string) *model.ServiceState {
	for i := range r.states {
		if r.states[i].Service == service {
			return &r.states[i]
		}
	}
	return nil
}

// chosen returns the named services that the cluster has, all without names.
func (r *running) chosen(named []string) []model.ServiceState {
	if len(named) == 0 {
		return r.states
	}
	var list []model.ServiceState
	for _, s := range r.states {
		if slices.Contains(named, s.Service) {
			list = append(list, s)
		}
	}
	return list
}

// started returns the named services, all without names; it is an error when
// one of them is not in the cluster.
func (r *running) started(named []string) ([]model.ServiceState, error) {
	for _, name := range named {
		if r.state(name) == nil {
			return nil, problem.New(fmt.Sprintf("service %q is not in the cluster", name), nil, "berth up "+name)
		}
	}
	if len(r.states) == 0 {
		return nil, problem.New(fmt.Sprintf("project %q is not in the cluster", r.name), nil, "berth up")
	}
	return r.chosen(named), nil
}

// pod chooses the pod that a command for a service goes to: the index-th by
// age, counted from 1, or for 0 the first that is ready, else that runs.
func (r *running) pod(service string, index int) (model.PodState, error) {
	states, err := r.started([]string{service})
	if err != nil {
		return model.PodState{}, err
	}
	var live []model.PodState
	for _, p := range states[0].Pods {
		if p.Phase == "Running" && p.Reason == "" {
			live = append(live, p)
		}
	}
	switch {
	case index > len(live) || index < 0:
		return model.PodState{}, problem.New(fmt.Sprintf("service %q has no pod %d", service, index), fmt.Errorf("%d run", len(live)), "berth ps "+service)
	case index > 0:
		return live[index-1], nil
	}
	for _, p := range live {
		if p.Ready {
			return p, nil
		}
	}
	if len(live) > 0 {
		return live[0], nil
	}
	why := "it has no pods"
	if n := len(states[0].Pods); n > 0 {
		why = stateOf(states[0].Pods[n-1])
		if reason := states[0].Pods[n-1].Reason; reason != "" {
			why += ": " + reason
		}
	}
	return model.PodState{}, problem.New(fmt.Sprintf("service %q does not run", service), errors.New(why), "berth ps "+service)
}

// each calls do for all services at once, as tasks that say doing and done. A
// service that fails does not hold up the others.
func (app *App) each(ctx context.Context, services []model.ServiceState, doing, done string, do func(context.Context, model.ServiceState) error) error {
	sink := app.sink()
	errs := make([]error, len(services))
	var calls sync.WaitGroup
	for i, s := range services {
		calls.Go(func() {
			task := progress.Start(sink, s.Service, doing)
			errs[i] = task.End(do(ctx, s), done)
		})
	}
	calls.Wait()
	return errors.Join(errs...)
}
