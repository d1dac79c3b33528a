package devloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// ErrNoSupervisor is what a Syncer's Restart returns for a container whose
// program cannot be restarted without losing the container's files.
var ErrNoSupervisor = errors.New("the program does not run under berth's supervisor")

// ErrCannotSync is what a Syncer's Sync returns for a container that lacks what
// it takes to write files into it.
var ErrCannotSync = errors.New("files cannot be synced into it")

// ErrNodeAway is what a Syncer returns for a container whose node does not answer.
var ErrNodeAway = errors.New("the container cannot be reached")

// inPods does the same in every running container of a service, all at once.
// A container that ends meanwhile is no failure: its successor is seen to. Nor is
// one whose node does not answer: the others must not wait for it.
func (t *turn) inPods(ctx context.Context, service string, do func(context.Context, model.PodState) error) error {
	pods := running(t.have.Services[service])
	if t.hasNewPods(service) || len(pods) == 0 {
		var err error
		if pods, err = t.observePods(ctx, service); err != nil {
			return err
		}
	}
	errs := make([]error, len(pods))
	var workers sync.WaitGroup
	for i, pod := range pods {
		if t.have.Away[pod.Node] {
			errs[i] = ErrNodeAway
			continue
		}
		workers.Go(func() { errs[i] = do(ctx, pod) })
	}
	workers.Wait()
	t.leavePods(service, pods, errs)
	if errors.Join(errs...) == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return t.unlessEnded(ctx, service, pods, errs)
}

// leavePods takes note of the pods whose node does not answer, in place of their
// errors.
func (t *turn) leavePods(service string, pods []model.PodState, errs []error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, pod := range pods {
		if !errors.Is(errs[i], ErrNodeAway) {
			continue
		}
		errs[i] = nil
		if !slices.ContainsFunc(t.missed[service], func(p model.PodState) bool { return p.ContainerID == pod.ContainerID }) {
			t.missed[service] = append(t.missed[service], pod)
		}
	}
}

// Times in which the API server learns that a container is gone: up to a second
// after its node.
const (
	endedEvery  = 100 * time.Millisecond
	endedWithin = 3 * time.Second
)

// unlessEnded joins the errors of pods whose container is still there. That a
// node has said of one that it does not run (fs.ErrNotExist) counts when the API
// server says so too.
func (t *turn) unlessEnded(ctx context.Context, service string, pods []model.PodState, errs []error) error {
	for late := t.deps.Clock.Now().Add(endedWithin); ; {
		now, err := t.observePods(ctx, service)
		if err != nil {
			return err
		}
		for i, pod := range pods {
			if !slices.ContainsFunc(now, func(p model.PodState) bool { return p.ContainerID == pod.ContainerID }) {
				errs[i] = nil
			}
		}
		err = errors.Join(errs...)
		if !errors.Is(err, fs.ErrNotExist) || !t.deps.Clock.Now().Before(late) {
			return err
		}
		timer := t.deps.Clock.NewTimer(endedEvery)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// hasNewPods reports whether this turn has, or may have, given a service new
// pods. Otherwise what the loop observed last is good enough, and asking the
// cluster would take longer than the sync: a container that is newer than that
// gets everything when it is seen.
func (t *turn) hasNewPods(service string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.applied[t.want.carrier(service)]
}

// observePods asks the cluster for the running containers of a service.
func (t *turn) observePods(ctx context.Context, service string) ([]model.PodState, error) {
	states, err := t.deps.Applier.Observe(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.Service == service {
			return running(s), nil
		}
	}
	return nil, nil
}

// running lists the pods whose container can be acted in.
func running(s model.ServiceState) []model.PodState {
	var pods []model.PodState
	for _, p := range s.Pods {
		if p.ContainerID != "" && p.Phase == "Running" {
			pods = append(pods, p)
		}
	}
	return pods
}

// sync writes files into the containers of a service: what changed into those
// that have the rest, the whole ledger into those that are new.
func (t *turn) sync(ctx context.Context, service string) error {
	work := t.work[service]
	err := t.inPods(ctx, service, func(ctx context.Context, pod model.PodState) error {
		files := t.have.Ledger[service]
		if t.have.Seen[pod.ContainerID] {
			files = work.Files
		}
		if len(files) > 0 {
			err := t.deps.Syncer.Sync(ctx, pod, files)
			var left *model.Unreadable
			if errors.As(err, &left) {
				t.leftOut(service, left)
				err = nil // what becomes readable is a change of its own
			}
			if err != nil {
				return err
			}
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.synced[service] = append(t.synced[service], pod)
		return nil
	})
	return wrap(err, "sync %d files into service %q", len(work.Files), service)
}

// leftOut warns of files that could not be read, of each once.
func (t *turn) leftOut(service string, left *model.Unreadable) {
	for _, reason := range left.Reasons {
		t.mu.Lock()
		said := t.said[reason.Error()]
		t.said[reason.Error()] = true
		t.mu.Unlock()
		if !said {
			t.warn(service, "not synced: "+reason.Error())
		}
	}
}

// rerun restarts the program of a service in its containers: in all of them
// when that was asked for, else in those that had not had the synced files.
func (t *turn) rerun(ctx context.Context, service string) error {
	work := t.work[service]
	err := t.inPods(ctx, service, func(ctx context.Context, pod model.PodState) error {
		if !work.Restart && t.have.Seen[pod.ContainerID] {
			return nil
		}
		program, err := t.deps.Syncer.Restart(ctx, pod)
		if program.Starts > 0 { // else it is not known whether it was started
			t.mu.Lock()
			defer t.mu.Unlock()
			t.starts[pod.ContainerID] = program.Starts
		}
		return err
	})
	return wrap(err, "restart the program of service %q", service)
}

// exec runs the commands of a service in its containers, one after the other.
func (t *turn) exec(ctx context.Context, service string) error {
	for _, spec := range t.work[service].Exec {
		err := t.inPods(ctx, service, func(ctx context.Context, pod model.PodState) error {
			return t.deps.Syncer.Exec(ctx, pod, spec, func(line string) { t.output(service, line) })
		})
		if err != nil {
			return wrap(err, "run %q in service %q", spec.Command, service)
		}
	}
	return nil
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
