package apply

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// needs reads AnnotationNeeds.
func needs(text string) []model.Dependency {
	var list []model.Dependency
	for _, entry := range split(text) {
		parts := strings.Split(entry, ":")
		if len(parts) < 2 {
			continue // somebody else's
		}
		list = append(list, model.Dependency{
			Service: parts[0], Condition: model.WaitCondition(parts[1]),
			Required: !slices.Contains(parts[2:], "optional"), Restart: slices.Contains(parts[2:], "restart"),
		})
	}
	return list
}

// An order is what each service depends on: other services that the cluster has
// and that run in other pods, never in a circle.
type order map[string][]model.Dependency

// orderOf reads the order of services out of what the cluster has of them. A
// circle, which only services that share pods can make, is cut where it closes.
func orderOf(states []model.ServiceState) order {
	workloads := map[string][]string{} // services by workload
	workload := map[string]string{}
	for _, s := range states {
		workload[s.Service] = s.Kind + "/" + s.Name
		workloads[workload[s.Service]] = append(workloads[workload[s.Service]], s.Service)
	}
	all := order{}
	for _, s := range states {
		for _, d := range s.DependsOn {
			if at, there := workload[d.Service]; there && at != workload[s.Service] {
				for _, d.Service = range workloads[at] { // they start and end together
					all[s.Service] = append(all[s.Service], d)
				}
			}
		}
	}
	above, done := map[string]bool{}, order{}
	var visit func(service string)
	visit = func(service string) {
		if _, seen := done[service]; seen {
			return
		}
		above[service] = true
		kept := []model.Dependency{}
		for _, d := range all[service] {
			if !above[d.Service] {
				visit(d.Service)
				kept = append(kept, d)
			}
		}
		delete(above, service)
		done[service] = kept
	}
	for _, s := range states {
		visit(s.Service)
	}
	return done
}

// reversed lists what depends on each service.
func (o order) reversed() order {
	dependents := order{}
	for _, service := range slices.Sorted(maps.Keys(o)) {
		for _, d := range o[service] {
			on := d.Service
			d.Service, d.Required = service, true
			dependents[on] = append(dependents[on], d)
		}
	}
	return dependents
}

// reachable lists services and all that o leads to from them, sorted.
func reachable(services []string, o order) []string {
	seen := map[string]bool{}
	var visit func(service string)
	visit = func(service string) {
		if seen[service] {
			return
		}
		seen[service] = true
		for _, d := range o[service] {
			visit(d.Service)
		}
	}
	for _, service := range services {
		visit(service)
	}
	return slices.Sorted(maps.Keys(seen))
}

func servicesOf(states []model.ServiceState) []string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = s.Service
	}
	return names
}

// A step is what is done for one service.
type step struct {
	service string
	after   []model.Dependency // services whose steps come first
	// do does it; nil: there is nothing to do. release lets the steps after it begin
	// before it has ended.
	do func(ctx context.Context, release func()) error
}

// inOrder takes every step as soon as those before it have ended well or
// released it. Steps after one that failed are left out, and so named.
func (p *Project) inOrder(ctx context.Context, steps []step, doing, done string) error {
	type outcome struct {
		known chan struct{}
		ok    bool // valid once known is closed
	}
	outcomes := map[string]*outcome{}
	for _, s := range steps {
		outcomes[s.service] = &outcome{known: make(chan struct{})}
	}
	errs := make([]error, len(steps))
	var running sync.WaitGroup
	for i, s := range steps {
		running.Go(func() {
			own, once := outcomes[s.service], sync.Once{}
			tell := func(ok bool) { once.Do(func() { own.ok = ok; close(own.known) }) }
			for _, d := range s.after {
				before := outcomes[d.Service]
				if <-before.known; before.ok || !d.Required {
					continue
				}
				if s.do != nil && ctx.Err() == nil {
					progress.Start(p.sink, s.service, "waiting").Skip(d.Service + " comes first, and failed")
				}
				tell(false)
				return
			}
			if errs[i] = ctx.Err(); errs[i] == nil && s.do != nil {
				task := progress.Start(p.sink, s.service, doing)
				errs[i] = task.End(s.do(ctx, func() { tell(true) }), done)
			}
			tell(errs[i] == nil)
		})
	}
	running.Wait()
	return errors.Join(distinct(errs)...)
}

// StopServices ends the pods of services, of all without names: those of a
// service once the pods of all that depend on it have ended, each within its
// own grace period, or within grace seconds if that is not negative. states is
// what the cluster has of the whole project.
func (p *Project) StopServices(ctx context.Context, states []model.ServiceState, services []string, grace int) error {
	dependents := orderOf(states).reversed()
	var steps []step
	for _, s := range states {
		st := step{service: s.Service, after: dependents[s.Service]}
		if len(services) == 0 || slices.Contains(services, s.Service) {
			st.do = func(ctx context.Context, _ func()) error { return p.stopService(ctx, s.Service, grace) }
		}
		steps = append(steps, st)
	}
	return p.inOrder(ctx, steps, "stopping", "stopped")
}

// stopService ends the pods of a service; one that is gone has none.
func (p *Project) stopService(ctx context.Context, service string, grace int) error {
	if err := p.Stop(ctx, service); err != nil && !errors.Is(err, errNoWorkload) && !kube.IsNotFound(err) {
		return err
	}
	if grace >= 0 {
		if err := p.EndPods(ctx, service, int64(grace)); err != nil {
			return err
		}
	}
	return p.Ended(ctx, service)
}

// StartServices starts services that are stopped or have ended, all without
// names, and what they depend on, each as soon as its dependencies are as it
// wants them, and returns when all are ready.
func (p *Project) StartServices(ctx context.Context, states []model.ServiceState, services []string) error {
	o := orderOf(states)
	chosen := servicesOf(states)
	if len(services) > 0 {
		chosen = reachable(services, o)
	}
	return p.inOrder(ctx, p.startSteps(chosen, o, p.Start), "starting", "started")
}

// RestartServices replaces the pods of services, of all without names, in order,
// and unless alone is set those of services that restart with them
// (depends_on.X.restart). It returns when all are ready. Pods get grace seconds
// to end if that is not negative.
func (p *Project) RestartServices(ctx context.Context, states []model.ServiceState, services []string, alone bool, grace int) error {
	o := orderOf(states)
	for name := range o {
		o[name] = slices.DeleteFunc(o[name], func(d model.Dependency) bool { return !d.Restart })
	}
	chosen := services
	switch {
	case len(services) == 0:
		chosen = servicesOf(states)
	case !alone:
		chosen = reachable(services, o.reversed())
	}
	restart := func(ctx context.Context, service string) error { return p.restartWithin(ctx, service, grace) }
	return p.inOrder(ctx, p.startSteps(chosen, o, restart), "restarting", "restarted")
}

// startSteps are steps that wait for the dependencies of a service, start it,
// and wait until it is ready.
func (p *Project) startSteps(services []string, o order, start func(ctx context.Context, service string) error) []step {
	var steps []step
	for _, service := range services {
		deps := o[service]
		first := slices.DeleteFunc(slices.Clone(deps), func(d model.Dependency) bool { return !slices.Contains(services, d.Service) })
		steps = append(steps, step{service: service, after: first, do: func(ctx context.Context, release func()) error {
			for _, d := range deps {
				if err := p.Wait(ctx, d.Service, d.Condition, progress.Discard); err != nil && (d.Required || ctx.Err() != nil) {
					return err
				}
			}
			if err := start(ctx, service); err != nil {
				return err
			}
			release()
			return p.Wait(ctx, service, model.WaitHealthy, progress.Discard)
		}})
	}
	return steps
}

// restartWithin replaces the pods of a service; those that it has get grace
// seconds to end, all at once, if that is not negative.
func (p *Project) restartWithin(ctx context.Context, service string, grace int) error {
	if grace < 0 {
		return p.Restart(ctx, service)
	}
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	pods, err := p.servicePods(ctx, service)
	if err != nil {
		return err
	}
	job := slices.ContainsFunc(workloads, func(w *unstructured.Unstructured) bool { return w.GetKind() == "Job" })
	if job { // it is made anew when its pods have ended
		err = p.endAll(ctx, pods, int64(grace))
	}
	if err == nil {
		err = p.Restart(ctx, service)
	}
	if err != nil || job {
		return err
	}
	return p.endAll(ctx, pods, int64(grace))
}
