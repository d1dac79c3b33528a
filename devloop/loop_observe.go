package devloop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
)

// observation is what the cluster shows.
type observation struct{ services map[string]model.ServiceState }

// followAgain is how long to wait before the cluster is followed again after
// it could not be.
const followAgain = time.Second

// start has the cluster followed: pods come, go and crash without us.
func (w *workers) start(ctx context.Context, l *loop) {
	w.group.Go(func() {
		away := false
		noteAway := func(err error) {
			if away == (err != nil) || ctx.Err() != nil {
				return
			}
			away = err != nil
			n := watch.Notice{Text: "the cluster answers again"}
			if away {
				n = watch.Notice{Text: "the cluster does not answer: " + err.Error(), Hint: "berth doctor"}
			}
			select {
			case l.notices <- n:
			case <-ctx.Done():
			}
		}
		for {
			err := l.e.deps.Applier.Follow(ctx, func(states []model.ServiceState, err error) {
				noteAway(err)
				if err != nil {
					return
				}
				o := observation{services: map[string]model.ServiceState{}}
				for _, s := range states {
					o.services[s.Service] = s
				}
				select {
				case l.observed <- o:
				case <-ctx.Done():
				}
			})
			noteAway(err)
			timer := l.e.deps.Clock.NewTimer(followAgain)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C():
			}
		}
	})
}

// observe takes over what the cluster shows.
func (l *loop) observe(ctx context.Context, o observation) {
	l.have.Services = o.services
	clear(l.greeted)
	alive, pods := map[string]bool{}, map[string]bool{}
	for _, name := range sortedKeys(o.services) {
		for _, p := range o.services[name].Pods {
			alive[p.ContainerID], pods[p.Name] = true, true
		}
		l.recovered(name, o.services[name])
	}
	seen := maps.Clone(l.have.Seen)
	maps.DeleteFunc(seen, func(id string, _ bool) bool { return !alive[id] })
	l.have.Seen = seen
	maps.DeleteFunc(l.reloaded, func(pod string, _ bool) bool { return !pods[pod] })
	l.watchPrograms(ctx, alive)
}

// attend sees to services that nobody works on: containers that lack what was
// synced get it, and what crashes is looked into. It reports whether it has
// started anything.
func (l *loop) attend(ctx context.Context) (started bool) {
	l.askNodes(ctx)
	if l.reading != nil || l.projectDue() || ctx.Err() != nil {
		return false
	}
	for _, name := range sortedKeys(l.have.Services) {
		s := l.state(name)
		_, known := l.want.service(name)
		switch {
		case !known || s.pending != nil || s.owed != nil && s.owed.again || l.busy(l.members(name)):
		case l.greet(name):
			started = true
		case s.owed == nil:
			l.lookInto(name, s)
			l.reportEnd(name, s)
		}
	}
	return started
}

// greet syncs the ledger of a service into containers that have not had it, and
// reports whether there are any. What the service is owed is left alone: new
// containers are no reason to try it again.
func (l *loop) greet(name string) bool {
	if len(l.have.Ledger[name]) == 0 || !l.means(name).sync || !l.want.Select[name] || errors.Is(l.state(name).failed, ErrCannotSync) {
		return false
	}
	unseen := false
	for _, p := range running(l.have.Services[name]) {
		if !l.have.Seen[p.ContainerID] && !l.greeted[p.ContainerID] && !l.have.Away[p.Node] {
			l.greeted[p.ContainerID] = true
			unseen = true
		}
	}
	if unseen {
		now := l.e.deps.Clock.Now()
		l.launchFor(&trip{greets: true, dirt: map[string]dirt{name: {seq: l.seq, resync: true, moments: moments{now, now, now}}}})
	}
	return unseen
}

// causeCrashes is why a service is looked into that served before.
const causeCrashes = "a container crashes"

// lookInto has a service waited for that served and whose containers crash
// now: the wait tells why, or that it has recovered.
func (l *loop) lookInto(name string, s *serviceState) {
	if s.pending != nil || s.failed != nil || s.waiting != nil || !l.want.Select[name] || l.want.carrier(name) != name {
		return
	}
	for _, p := range l.have.Services[name].Pods {
		cause := ""
		switch {
		case p.Phase == "Running" && !p.Ready && p.Reason == "CrashLoopBackOff":
			cause = causeCrashes
		case l.lacksImage(name, p):
			cause = fmt.Sprintf("node %q lacks its image", p.Node)
		}
		if cause != "" {
			now := l.e.deps.Clock.Now()
			l.soil(name, dirt{seq: l.seq, apply: cause, moments: moments{now, now, now}})
			return
		}
	}
}

// lacksImage reports whether a pod of a service waits for an image that every node
// was taken to have, and has it loaded with the next flight: a node may be new, or
// have removed it. What a pod still lacks then is not loaded once more for it.
func (l *loop) lacksImage(service string, p model.PodState) bool {
	lacking := []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"}
	if !slices.Contains(lacking, p.Reason) || l.reloaded[p.Name] {
		return false
	}
	loaded := maps.Clone(l.have.Loaded)
	for _, img := range l.want.podImages(service) {
		delete(loaded, l.have.Facts[img.Ref].Ref)
	}
	if len(loaded) == len(l.have.Loaded) {
		return false
	}
	l.have.Loaded, l.reloaded[p.Name] = loaded, true
	return true
}

// lookAgain has what the cluster shows looked at again soon: a service may have
// been seen ready just before the wait for it gave up, and then nothing new comes.
func (l *loop) lookAgain() {
	if l.look == nil {
		l.look = l.e.deps.Clock.NewTimer(followAgain)
	}
}

// allRecovered is recovered for all services, as they were seen last.
func (l *loop) allRecovered() {
	for _, name := range sortedKeys(l.have.Services) {
		l.recovered(name, l.have.Services[name])
	}
}

// recovered notes that a service that was given up on serves after all.
func (l *loop) recovered(name string, state model.ServiceState) {
	s := l.services[name]
	if s == nil || s.failed == nil || !s.late || s.pending != nil || state.Desired == 0 || state.Ready < state.Desired {
		return
	}
	if !steady(state, l.e.deps.Clock.Now()) {
		l.lookAgain()
		return
	}
	l.recover(name, s)
}

// steadyAfterCrash is how long a container that has crashed must have run before it
// is believed: without a healthcheck it counts as ready the moment it starts.
const steadyAfterCrash = 10 * time.Second

// steady reports whether no container of a service has just crashed.
func steady(state model.ServiceState, now time.Time) bool {
	return !slices.ContainsFunc(state.Pods, func(p model.PodState) bool {
		return p.Health == "" && p.ExitCode != nil && *p.ExitCode != 0 && now.Sub(p.Since) < steadyAfterCrash
	})
}

// recover notes that a service serves that did not, by itself, and has what is
// left for it done.
func (l *loop) recover(name string, s *serviceState) {
	left := s.take()
	if left.apply = ""; s.ended {
		left.rerun = false // it was started again, by whomever
	}
	s.failed, s.late, s.ended = nil, false, false
	if !left.empty() {
		s.pending = &left // and then it serves
		return
	}
	l.send(l.cured(name))
	l.resume()
}
