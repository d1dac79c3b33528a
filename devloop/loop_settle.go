package devloop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// verdict is how a flight went for one service.
type verdict struct {
	superseded bool // part of it was given up for a newer change
	applied    bool
	err        error // what failed first
	verb       Verb  // that failed
	skipped    bool  // not started because of another service
	synced     bool  // its files are in its containers
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
	}
	if !slices.ContainsFunc(t.outcomes, func(o outcome) bool { return !o.succeeded() }) {
		l.backoff = 0
	}
	l.resume()
}

// markSeen notes which containers of a service have all of the ledger now.
// Where a sync failed, it is not known how far it got.
func (l *loop) markSeen(t *trip, service string) {
	seen := maps.Clone(l.have.Seen)
	t.turn.mu.Lock()
	for _, id := range t.turn.synced[service] {
		seen[id] = true
	}
	t.turn.mu.Unlock()
	for i, o := range t.outcomes {
		if a := t.plan.Actions[i]; a.Verb == Sync && a.Service == service && o.err != nil {
			for _, p := range l.have.Services[service].Pods {
				delete(seen, p.ContainerID)
			}
		}
	}
	l.have.Seen = seen
}

// judge looks at what the flight did for one service.
func (l *loop) judge(t *trip, service string) verdict {
	var v verdict
	for i, o := range t.outcomes {
		a := t.plan.Actions[i]
		if !slices.Contains(t.about[i], service) {
			continue
		}
		switch {
		case errors.Is(o.err, errSuperseded), o.skip == errSuperseded.Error():
			v.superseded = true
		case o.err != nil && v.err == nil:
			v.err, v.verb = o.err, a.Verb
		case o.skip != "" && a.Verb == Apply:
			v.skipped = true
		case o.succeeded() && a.Verb == Apply:
			v.applied = true
		case o.succeeded() && a.Verb == Sync && a.Service == service:
			v.synced = true
		}
	}
	return v
}

// conclude brings the state of a service up to date after a flight, and says
// how its change went.
func (l *loop) conclude(t *trip, service string, d dirt, changed bool, v verdict) {
	s := l.state(service)
	whole := d
	if v.synced {
		d.files, d.resync = nil, false
	}
	if v.applied {
		d.rebuild, d.replace, d.apply = false, false, ""
	}
	switch {
	case errors.Is(v.err, ErrNoSupervisor) && !l.have.Unsupervised[service]:
		l.restartOtherwise(service, d)
	case v.err != nil:
		s.failed, s.late, s.waiting, s.ended = v.err, v.verb == Wait, false, v.verb == Rerun
		if !v.applied && !s.ended && d.apply == "" {
			d.apply = "not applied before"
		}
		why := ""
		if d.again = transient(v.verb, v.err); d.again {
			if d.empty() {
				d.apply = "tried again"
			}
			why = fmt.Sprintf("tried again in %s", l.again())
		}
		if !d.empty() {
			s.owed = &d
		}
		l.send(Event{Kind: EventFailed, Service: service, Seq: d.seq, Cause: l.causeOf(t, whole, changed), Action: whole.action(), Error: v.err, Why: why})
	case v.superseded:
		if d.apply == "" {
			d.apply = "not waited for before" // it is cheap when nothing changed, and then it is waited for
		}
		later := s.pending
		s.pending = &d
		if later != nil {
			s.pending.merge(*later)
		}
	case v.skipped:
		s.waiting = true
	default:
		s.failed, s.late, s.waiting, s.ended = nil, false, false, false
		if changed && (t.project == nil || len(whole.paths) > 0) {
			l.send(l.serving(t, service, whole))
		}
	}
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

func (l *loop) causeOf(t *trip, d dirt, changed bool) string {
	if !changed && t.project != nil {
		return t.project.cause()
	}
	return d.cause()
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
	ev.Why = strings.Join(slices.DeleteFunc([]string{ev.Why, t.turn.how[l.want.carrier(service)]}, func(s string) bool { return s == "" }), "; ")
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
	var err error
	again := false
	for i, o := range t.outcomes {
		a := t.plan.Actions[i]
		if o.err == nil || errors.Is(o.err, errSuperseded) || a.Service != "" || a.Image != "" {
			continue
		}
		if err == nil {
			err = o.err
		}
		again = again || transient(a.Verb, o.err)
	}
	if err != nil {
		ev := Event{Kind: EventFailed, Seq: t.project.seq, Cause: t.project.cause(), Action: "apply", Error: err}
		if again && l.projectDirt == nil {
			l.projectDirt = &dirt{apply: "tried again", again: true}
			ev.Why = fmt.Sprintf("tried again in %s", l.again())
		}
		l.send(ev)
		return
	}
	if slices.ContainsFunc(t.outcomes, func(o outcome) bool { return !o.succeeded() }) {
		return
	}
	now := l.e.deps.Clock.Now()
	ev := Event{Kind: EventServing, Seq: t.project.seq, Cause: t.project.cause(), Action: "apply", Total: since(firstTime(t.project.moments.saved, t.began), now)}
	l.send(ev)
	if l.opts.OnUp != nil {
		l.opts.OnUp(t.turn.upResult())
	}
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
		svc, ok := l.want.service(name)
		if !s.waiting || s.pending != nil || !ok || l.busy(l.members(name)) {
			continue
		}
		blocked := false
		for _, d := range svc.DependsOn {
			dep := l.services[d.Service]
			open := dep != nil && (dep.failed != nil || dep.waiting || dep.pending != nil)
			blocked = blocked || d.Required && (open || l.busy(map[string]bool{d.Service: true}))
		}
		if !blocked {
			s.waiting = false
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
	case s.pending != nil || s.waiting:
		return PhaseDirty
	case s.failed != nil:
		return PhaseFailed
	}
	return PhaseServing
}
