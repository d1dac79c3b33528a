package devloop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// verdict is how a flight went for one service.
type verdict struct {
	superseded bool          // part of it was given up for a newer change
	err        error         // what failed first
	verb       Verb          // that failed
	skipped    bool          // not started because of another service
	done       map[Verb]bool // of what is done to the service itself
	missed     map[Verb]bool // planned, and not done
}

// actionEnded concludes the services for which the flight has nothing left to
// do: what they wait for is no reason to keep quiet about others.
func (l *loop) actionEnded(t *trip, id int) {
	for _, name := range t.about[id-1] {
		t.left[name]--
		if t.left[name] > 0 {
			continue
		}
		if _, there := l.want.service(name); there {
			d, mine := t.dirt[name]
			l.markSeen(t, name)
			l.conclude(t, name, d, mine, l.judge(t, name))
		}
	}
	l.resume()
}

// settle takes over what a flight that is over did. Dirt that led to no action
// at all is done with.
func (l *loop) settle(t *trip) {
	if t.project != nil {
		l.concludeProject(t)
		if !l.started && l.opts.Started != nil {
			l.opts.Started()
		}
		l.started = true
	}
	if !slices.ContainsFunc(t.outcomes, func(o outcome) bool { return !o.succeeded() }) {
		l.backoff = 0
	}
	l.restLater()
	l.resume()
}

// markSeen notes which containers of a service have all of the ledger now, and
// programs that know. Where a sync failed, it is not known how far it got.
func (l *loop) markSeen(t *trip, service string) {
	seen := maps.Clone(l.have.Seen)
	t.turn.mu.Lock()
	synced, missed := t.turn.synced[service], t.turn.missed[service]
	t.turn.mu.Unlock()
	for _, p := range synced {
		seen[p.ContainerID] = true
	}
	for i, o := range t.outcomes {
		a := t.plan.Actions[i]
		switch {
		case a.Service != service || o.succeeded():
		case a.Verb == Sync && o.err != nil:
			for _, p := range l.have.Services[service].Pods {
				delete(seen, p.ContainerID)
			}
		case a.Verb == Rerun && !programEnded(o.err): // those that were new still run what they had
			for _, p := range synced {
				if !t.turn.have.Seen[p.ContainerID] {
					delete(seen, p.ContainerID)
				}
			}
		}
	}
	l.have.Seen = seen
	l.leaveOut(missed)
	l.addPods(t, service, synced)
}

// addPods adds the pods of a service that a turn has found by itself to those
// that were observed: what changes before the observation has caught up must
// reach them, too. Should they be gone by then, the observation tells.
func (l *loop) addPods(t *trip, service string, synced []model.PodState) {
	state, there := l.have.Services[service]
	known := slices.Concat(state.Pods, t.turn.have.Services[service].Pods)
	found := slices.DeleteFunc(slices.Clone(synced), func(p model.PodState) bool {
		return slices.ContainsFunc(known, func(k model.PodState) bool { return k.ContainerID == p.ContainerID })
	})
	if !there || len(found) == 0 {
		return
	}
	state.Pods = slices.Concat(state.Pods, found)
	services := maps.Clone(l.have.Services)
	services[service] = state
	l.have.Services = services
}

// judge looks at what the flight did for one service.
func (l *loop) judge(t *trip, service string) verdict {
	v := verdict{done: map[Verb]bool{}, missed: map[Verb]bool{}}
	for i, o := range t.outcomes {
		a := t.plan.Actions[i]
		if !slices.Contains(t.about[i], service) {
			continue
		}
		if inside := a.Verb == Sync || a.Verb == Rerun || a.Verb == Exec; !inside || a.Service == service {
			v.done[a.Verb] = v.done[a.Verb] || o.succeeded()
			v.missed[a.Verb] = v.missed[a.Verb] || !o.succeeded()
		}
		switch {
		case errors.Is(o.err, errSuperseded), o.skip == errSuperseded.Error():
			v.superseded = true
		case o.err != nil && v.err == nil:
			v.err, v.verb = o.err, a.Verb
		case o.skip != "" && (a.Verb == Apply || a.Verb == Restart):
			v.skipped = true
		}
	}
	return v
}

// left is what remains to be done of d. A service whose restart with another
// was missed has it to come.
func (v verdict) left(d dirt) dirt {
	if v.done[Sync] {
		d.files, d.resync = nil, d.resync && v.missed[Rerun] && !programEnded(v.err)
	}
	if v.done[Rerun] {
		d.rerun = false
	}
	if v.done[Exec] {
		d.exec = nil
	}
	if v.done[Apply] {
		d.rebuild, d.apply = false, ""
	}
	d.replace = v.missed[Restart] || d.replace && !v.done[Apply] && !v.done[Restart]
	return d
}

// blockers lists the services because of which a flight did not start one: those
// that what it comes after is about, at once or by way of its own actions; ""
// for what belongs to no single service.
func (t *trip) blockers(service string) map[string]bool {
	found := map[string]bool{}
	var visit func(a Action)
	visit = func(a Action) {
		for _, id := range a.After {
			switch about, o := t.about[id-1], t.outcomes[id-1]; {
			case !o.ended || o.succeeded():
			case slices.Contains(about, service):
				visit(t.plan.Actions[id-1])
			case len(about) == 0:
				found[""] = true
			default:
				for _, name := range about {
					found[name] = true
				}
			}
		}
	}
	for i, a := range t.plan.Actions {
		if t.outcomes[i].skip != "" && slices.Contains(t.about[i], service) {
			visit(a)
		}
	}
	return found
}

// conclude brings the state of a service up to date after a flight, and says
// how its change went.
func (l *loop) conclude(t *trip, service string, d dirt, changed bool, v verdict) {
	s := l.state(service)
	whole := d
	d = v.left(d)
	switch {
	case errors.Is(v.err, ErrNoSupervisor) && !l.have.Unsupervised[service]:
		l.restartOtherwise(service, d)
	case errors.Is(v.err, ErrCannotSync) && l.builds(service):
		l.buildInstead(service, d, v.err)
	case v.err != nil:
		why := l.fail(s, d, v)
		l.send(Event{Kind: EventFailed, Service: service, Seq: d.seq, Cause: l.causeOf(t, whole, changed), Action: whole.action(), Error: v.err, Why: why})
		if s.late {
			l.lookAgain()
		}
	case v.superseded:
		if d.apply == "" {
			d.apply = "not waited for before" // it is cheap when nothing changed, and then it is waited for
		}
		if s.pending != nil {
			d.merge(*s.pending)
		}
		s.pending = &d
	case v.skipped:
		s.waiting = t.blockers(service)
		if !d.empty() {
			s.owed = &d
		}
	case t.greets && (s.failed != nil || s.waiting != nil): // it stands where it stood
	default:
		failed := s.failed != nil
		s.failed, s.late, s.waiting, s.ended = nil, false, nil, false
		switch {
		case changed && (t.project == nil || len(whole.paths) > 0):
			l.send(l.serving(t, service, whole))
		case failed:
			l.send(l.cured(service))
		}
	}
}

// fail notes that a service does not serve and what is left to be done for it.
// It returns when that is tried again, "" for with the next change.
func (l *loop) fail(s *serviceState, d dirt, v verdict) (why string) {
	s.failed, s.late, s.waiting, s.ended = v.err, v.verb == Wait, nil, programEnded(v.err)
	if !v.done[Apply] && !s.ended && d.apply == "" {
		d.apply = "not applied before"
	}
	if s.owed != nil { // only a flight that greets leaves it
		owed := *s.owed
		owed.merge(d)
		d = owed
	}
	if d.again = transient(v.verb, v.err); d.again {
		if d.empty() {
			d.apply = "tried again"
		}
		why = fmt.Sprintf("tried again in %s", l.again())
	}
	if !d.empty() {
		s.owed = &d
	}
	return why
}

// restartOtherwise does what a restart in place was to do, now that it is known
// to be impossible for the service.
func (l *loop) restartOtherwise(service string, d dirt) {
	unsupervised := maps.Clone(l.have.Unsupervised)
	if unsupervised == nil {
		unsupervised = map[string]bool{}
	}
	unsupervised[service] = true
	l.have.Unsupervised = unsupervised
	d.rerun = false
	d.restart(l.means(service))
	l.send(Event{Kind: EventHold, Service: service, Seq: d.seq, Action: d.action(), Why: ErrNoSupervisor.Error() + ": " + d.action() + " instead"})
	l.soil(service, d)
}

// buildInstead brings over in an image what was to be synced, from now on, for
// files cannot be written into the containers of the service.
func (l *loop) buildInstead(service string, d dirt, why error) {
	unsyncable, ledger := maps.Clone(l.have.Unsyncable), maps.Clone(l.have.Ledger)
	if unsyncable == nil {
		unsyncable = map[string]bool{}
	}
	unsyncable[service] = true
	delete(ledger, service)
	l.have.Unsyncable, l.have.Ledger = unsyncable, ledger
	d.files, d.exec, d.resync, d.rerun, d.rebuild = nil, nil, false, false, true
	reason, _, _ := strings.Cut(why.Error(), "\n") // the same in every replica
	l.send(Event{Kind: EventHold, Service: service, Seq: d.seq, Action: d.action(), Why: reason + ": " + d.action() + " instead"})
	l.soil(service, d)
}

func (l *loop) causeOf(t *trip, d dirt, changed bool) string {
	if !changed && t.project != nil {
		return t.project.cause()
	}
	return d.cause()
}

// cured is the event that a service which failed serves without a change of its
// own files.
func (l *loop) cured(service string) Event {
	return Event{Kind: EventServing, Service: service, Cause: "recovered", Action: "wait", Replicas: int(l.have.Services[service].Ready)}
}

// serving is the event that a change serves, with its waterfall.
func (l *loop) serving(t *trip, service string, d dirt) Event {
	now := l.e.deps.Clock.Now()
	svc, _ := l.want.service(service)
	m := d.moments
	ev := Event{
		Kind: EventServing, Service: service, Seq: d.seq, Cause: d.cause(), Action: d.action(), Why: joinWords(d.whys),
		Files: len(d.paths) + d.more, Replicas: int(svc.Replicas), Total: since(m.saved, now),
	}
	t.turn.mu.Lock()
	ev.How = t.turn.how[l.want.carrier(service)]
	if missed := len(t.turn.missed[service]); missed > 0 {
		ev.Replicas, ev.Why = max(0, ev.Replicas-missed), fmt.Sprintf("%d of its replicas cannot be reached: their nodes do not answer", missed)
		if ev.Replicas == 0 {
			ev.Kind = EventHold
		}
	}
	t.turn.mu.Unlock()
	step := func(name string, took Millis) {
		if took > 0 {
			ev.Steps = append(ev.Steps, Step{name, took})
		}
	}
	step("watch", since(m.saved, m.first))
	step("debounce", since(m.first, m.flushed))
	step("plan", since(m.flushed, t.began))
	for _, part := range []struct {
		name    string
		verbs   []Verb
		subject string
	}{
		{"build", []Verb{Build, Pull}, svc.Image},
		{"load", []Verb{Load}, svc.Image},
		{"apply", []Verb{Apply, Restart}, l.want.carrier(service)},
		{"swap", []Verb{stepSwap}, l.want.carrier(service)},
		{"write", []Verb{Sync}, service},
		{"restart", []Verb{Rerun}, service},
		{"exec", []Verb{Exec}, service},
		{"ready", []Verb{Wait}, l.want.carrier(service)},
	} {
		var took time.Duration
		for _, verb := range part.verbs {
			took += t.turn.took(verb, part.subject)
			if verb == Apply { // it contains the swap
				took -= t.turn.took(stepSwap, part.subject)
			}
		}
		step(part.name, Millis(took))
	}
	return ev
}

// concludeProject says how a turn over the whole project went.
func (l *loop) concludeProject(t *trip) {
	l.failed = nil
	again, incomplete := false, false
	for i, o := range t.outcomes {
		a := t.plan.Actions[i]
		if o.err == nil || errors.Is(o.err, errSuperseded) || a.Service != "" || a.Image != "" {
			incomplete = incomplete || !o.succeeded()
			continue
		}
		l.failed = append(l.failed, o.err)
		again = again || transient(a.Verb, o.err)
	}
	if incomplete {
		l.unfinished = t.project
	}
	for _, up := range []*UpOptions{&l.opts.Up, &l.want.Options} {
		up.ForceRecreate, up.RecreateDeps = false, false // done, or owed to the services that it failed for
	}
	if len(l.failed) > 0 {
		ev := Event{Kind: EventFailed, Seq: t.project.seq, Cause: t.project.cause(), Action: "apply", Error: errors.Join(l.failed...)}
		if again && l.projectDirt == nil {
			l.projectDirt = &dirt{apply: "tried again", again: true}
			ev.Why = fmt.Sprintf("tried again in %s", l.again())
		}
		l.send(ev)
		return
	}
	if incomplete {
		return
	}
	now := l.e.deps.Clock.Now()
	ev := Event{Kind: EventServing, Seq: t.project.seq, Cause: t.project.cause(), Action: "apply", Total: since(firstTime(t.project.moments.saved, t.began), now)}
	l.send(ev)
	if l.opts.OnUp != nil {
		l.opts.OnUp(t.turn.upResult())
	}
}

// outcome is the error of a loop that ends because nothing is left to be done,
// nil when everything serves.
func (l *loop) outcome() error {
	e := RunError{Failed: l.failed}
	if l.unread != nil {
		e.Failed = append(slices.Clone(e.Failed), l.unread)
	}
	for _, name := range sortedKeys(l.services) {
		s := l.services[name]
		if s.failed != nil && !containsError(e.Failed, s.failed) {
			e.Failed = append(e.Failed, s.failed)
		}
		if s.waiting != nil {
			e.Skipped = append(e.Skipped, "start "+name)
		}
	}
	if len(e.Failed) == 0 && len(e.Skipped) == 0 {
		return nil
	}
	return &e
}

// firstTime returns a, or b when a is not known.
func firstTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

// resume starts services that waited for others which serve now.
func (l *loop) resume() {
	for _, name := range sortedKeys(l.services) {
		s := l.services[name]
		_, ok := l.want.service(name)
		if s.waiting == nil || s.pending != nil || !ok || l.busy(l.members(name)) {
			continue
		}
		blocked := false
		for other := range s.waiting {
			o := l.services[other]
			open := other == "" || o != nil && (o.failed != nil || o.waiting != nil || o.pending != nil)
			blocked = blocked || open || l.busy(map[string]bool{other: true})
		}
		if !blocked {
			s.waiting = nil
			now := l.e.deps.Clock.Now()
			l.soil(name, dirt{seq: l.seq, apply: "what it waited for serves now", moments: moments{now, now, now}})
		}
	}
}

// phase is where a service stands.
func (l *loop) phase(service string) Phase {
	s := l.services[service]
	me := map[string]bool{service: true}
	open := func(verifying bool) bool {
		return slices.ContainsFunc(l.flights, func(t *trip) bool {
			return t.pending(func(a Action) bool { return l.touches(t, a, me) && (a.Verb == Wait) == verifying })
		})
	}
	switch {
	case open(false):
		return PhaseActing
	case open(true):
		return PhaseVerify
	case s == nil:
		return PhaseIdle
	case s.pending != nil || s.waiting != nil:
		return PhaseDirty
	case s.failed != nil:
		return PhaseFailed
	}
	return PhaseServing
}
