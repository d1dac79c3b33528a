package devloop

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// groups maps every service to the first of those that must not be worked on
// at once: they share an image, a pod, one's image is built from the other's,
// or one restarts with the other.
func groups(w Want) map[string]string {
	parent := map[string]string{}
	var root func(name string) string
	root = func(name string) string {
		if p := parent[name]; p != "" && p != name {
			parent[name] = root(p)
			return parent[name]
		}
		return name
	}
	join := func(a, b string) {
		a, b = root(a), root(b)
		parent[max(a, b)] = min(a, b)
	}
	for _, img := range w.Result.Images {
		for _, name := range img.Services[1:] {
			join(img.Services[0], name)
		}
		if img.Build == nil {
			continue
		}
		for _, value := range img.Build.AdditionalContexts {
			if other, ok := strings.CutPrefix(value, "service:"); ok {
				join(img.Services[0], other)
			}
		}
	}
	for _, s := range w.Result.Services {
		join(s.Name, w.carrier(s.Name))
		for _, d := range s.DependsOn {
			if d.Restart {
				join(s.Name, d.Service)
			}
		}
	}
	result := map[string]string{}
	for _, s := range w.Result.Services {
		result[s.Name] = root(s.Name)
	}
	return result
}

// members returns the group of a service.
func (l *loop) members(service string) map[string]bool {
	members := map[string]bool{}
	for name, group := range l.group {
		if group == l.group[service] {
			members[name] = true
		}
	}
	return members
}

// busy reports whether something runs, or will, for one of the services.
func (l *loop) busy(services map[string]bool) bool {
	return slices.ContainsFunc(l.flights, func(t *trip) bool {
		return t.pending(func(a Action) bool {
			return a.Verb == Apply && a.Service == "" || l.touches(t, a, services)
		})
	})
}

// startGroup starts one group of services that have something to be done and
// are free. The whole project goes first.
func (l *loop) startGroup() bool {
	if l.reading != nil || l.projectDue() {
		return false
	}
	for _, name := range sortedKeys(l.services) {
		if l.services[name].pending == nil {
			continue
		}
		members := l.members(name)
		if l.busy(members) {
			continue
		}
		l.launchFor(&trip{dirt: l.take(func(s string) bool { return members[s] })})
		return true
	}
	return false
}

// launchFor starts a flight for what is to be done for a few services.
func (l *loop) launchFor(t *trip) {
	dirty := Dirty{Images: map[string]string{}, Services: map[string]string{}, Restart: map[string]string{}, Sync: map[string]SyncWork{}}
	for _, name := range sortedKeys(t.dirt) {
		l.addDirt(&dirty, name, t.dirt[name])
	}
	l.launch(t, dirty)
}

// take takes over what is to be done for some services.
func (l *loop) take(which func(service string) bool) map[string]dirt {
	taken := map[string]dirt{}
	for name, s := range l.services {
		if which(name) && (s.pending != nil || s.owed != nil) {
			taken[name] = s.take()
		}
	}
	return taken
}

// addDirt turns the dirt of a service into what Decide reads.
func (l *loop) addDirt(dirty *Dirty, name string, d dirt) {
	s, ok := l.want.service(name)
	if !ok {
		return
	}
	if d.rebuild {
		dirty.Images[s.Image] = d.cause()
	}
	if d.apply != "" && dirty.Services != nil {
		dirty.Services[name] = d.apply
	}
	if d.replace {
		dirty.Restart[l.want.carrier(name)] = d.cause()
	}
	if len(d.files)+len(d.exec) > 0 || d.rerun || d.resync {
		dirty.Sync[name] = SyncWork{
			Cause: d.cause(), Files: d.files, Restart: d.rerun, Exec: d.exec, New: d.resync,
		}
	}
}

// setStale notes that the image of a service is behind its sources.
func (l *loop) setStale(service string) {
	if s, ok := l.want.service(service); ok && !l.have.Stale[s.Image] {
		stale := maps.Clone(l.have.Stale)
		stale[s.Image] = true
		l.have.Stale = stale
	}
}

// ended takes the result of an action.
func (l *loop) ended(r result) {
	r.flight.finish(r.id, r.err)
	a := r.flight.plan.Actions[r.id-1]
	i := slices.IndexFunc(l.flights, func(t *trip) bool { return t.flight == r.flight })
	l.takeFacts(l.flights[i].turn, a, r.err)
	switch a.Verb {
	case Sync:
		l.synced[a.Service] = l.e.deps.Clock.Now()
	case Rerun:
		l.takeStarts(l.flights[i].turn)
	}
	l.actionEnded(l.flights[i], a.ID)
}

// takeFacts takes over what a successful action found out about an image.
func (l *loop) takeFacts(turn *turn, a Action, err error) {
	turn.mu.Lock()
	defer turn.mu.Unlock()
	switch {
	case err != nil:
	case a.Verb == Build || a.Verb == Pull:
		facts := maps.Clone(l.have.Facts)
		facts[a.Image] = turn.facts[a.Image]
		l.have.Facts = facts
		stale := maps.Clone(l.have.Stale)
		if !l.soiled(a.Image) {
			delete(stale, a.Image)
		}
		l.have.Stale = stale
	case a.Verb == Load:
		loaded := maps.Clone(l.have.Loaded)
		loaded[turn.facts[a.Image].Ref] = true
		l.have.Loaded = loaded
	}
}

// soiled reports whether sources of an image changed and wait to be built.
func (l *loop) soiled(image string) bool {
	for name, s := range l.services {
		if svc, _ := l.want.service(name); svc.Image == image && s.pending != nil && s.pending.rebuild {
			return true
		}
	}
	return false
}

// workers are the goroutines of a loop.
type workers struct{ group sync.WaitGroup }

// launch carries out actions. Every one hands in a result.
func (w *workers) launch(l *loop, t *trip, list []started) {
	for _, s := range list {
		w.group.Go(func() { l.results <- result{t.flight, s.ID, t.turn.do(s.ctx, s.Action)} })
	}
}

func (w *workers) wait() { w.group.Wait() }

// since is the time from a to b, none when a is not known.
func since(a, b time.Time) Millis {
	if a.IsZero() || b.Before(a) {
		return 0
	}
	return Millis(b.Sub(a))
}
