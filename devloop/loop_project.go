package devloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// prepared is a project that was read again, with all that the loop needs to
// go on with it.
type prepared struct {
	want     Want
	services map[string]model.ServiceState
	set      watchSet                    // with an error, the one up to now with the files that were looked for
	initial  map[string][]model.FileSync // what initial_sync asks for, by service
	err      error
}

// prepare reads the project, and has its files watched before it looks at
// them. facts are the images known so far.
func (l *loop) prepare(ctx context.Context, facts map[string]model.ImageFacts) prepared {
	want, have, err := l.e.prepare(ctx, l.opts.Up, facts)
	if err != nil && l.watcher != nil {
		set, more := l.set.withFiles(want.Input.Files)
		if more { // it may have come before it was watched
			l.watcher.SetRoots(ctx, set.roots())
			want, have, err = l.e.prepare(ctx, l.opts.Up, facts)
		}
		if err != nil {
			return prepared{set: set, err: err}
		}
	}
	if err != nil {
		return prepared{err: err}
	}
	want.Follow = !l.opts.Once
	set, err := newWatchSet(want, l.e.deps.Syncer != nil && l.e.deps.Target.AgentDir != "")
	if err != nil {
		return prepared{set: l.set, err: err}
	}
	if l.watcher != nil {
		l.watcher.SetRoots(ctx, set.roots())
	}
	p := prepared{want: want, services: have.Services, set: set, initial: map[string][]model.FileSync{}}
	for _, r := range set.rules {
		if r.initial && l.e.deps.Syncer != nil && strings.HasPrefix(r.action, actionSync) {
			p.initial[r.service] = append(p.initial[r.service], r.everything()...)
		}
	}
	return p
}

// everything lists all that is below the path of a sync rule now.
func (r rule) everything() []model.FileSync {
	var files []model.FileSync
	err := filepath.WalkDir(r.path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && d != nil && d.IsDir():
			return fs.SkipDir // the watcher says that it is not readable
		case err != nil:
			return nil
		case d.IsDir() && name != r.path && slices.ContainsFunc(r.ignore, func(m *watch.Matcher) bool { return m.Prunes(name) }):
			return fs.SkipDir
		case r.covers(name) && (d.IsDir() || d.Type().IsRegular() || d.Type()&fs.ModeSymlink != 0):
			files = append(files, model.FileSync{Source: name, Target: r.inContainer(name), Op: model.FileWritten})
		}
		return nil
	})
	if err != nil {
		return nil // the path itself is not there yet
	}
	return files
}

// takeProject makes way for a turn over the whole project.
func (l *loop) takeProject() {
	for _, t := range l.flights {
		t.giveUp(func(Action) bool { return true })
	}
}

// projectDue reports whether the project is to be read again now.
func (l *loop) projectDue() bool { return l.projectDirt != nil && !l.projectDirt.again }

// startProject has the project read again when it is due and nothing else runs.
func (l *loop) startProject(ctx context.Context) bool {
	if !l.projectDue() || l.reading != nil || len(l.flights) > 0 {
		return false
	}
	l.reading, l.projectDirt = l.projectDirt, nil
	facts := l.have.Facts
	l.workers.group.Go(func() { l.prepared <- l.prepare(ctx, facts) })
	return true
}

// readAgain goes on with a project that was read again, or says why it cannot.
func (l *loop) readAgain(p prepared) {
	cause := *l.reading
	l.reading = nil
	if p.err != nil {
		l.stay(p, cause)
		l.takeDeferred()
		return
	}
	l.adopt(p)
	l.send(Event{Kind: EventProject, Seq: cause.seq, Cause: cause.cause(), Action: "apply", Files: l.watcher.Stats().Files})
	l.takeDeferred()
	if l.projectDirt != nil { // it changed again meanwhile
		cause.merge(*l.projectDirt)
		l.projectDirt = &cause
		return
	}
	l.launchProject(cause)
}

// stay goes on with the project as it was, until a file that was read changes,
// or until the cluster answers if that was all that was wrong.
func (l *loop) stay(p prepared, cause dirt) {
	if errors.Is(p.err, context.Canceled) {
		return
	}
	l.set, l.unread = p.set, p.err
	why := "the project stays as it was"
	if errors.As(p.err, new(unobserved)) {
		cause.again = true
		l.projectDirt = &cause
		why = fmt.Sprintf("tried again in %s", l.again())
	}
	l.send(Event{Kind: EventFailed, Seq: cause.seq, Cause: cause.cause(), Action: "apply", Error: p.err, Why: why})
}

func (l *loop) takeDeferred() {
	batches := l.deferred
	l.deferred = nil
	for _, b := range batches {
		l.changed(b)
	}
}

// adopt makes a project that was read the current one.
func (l *loop) adopt(p prepared) {
	old := l.want
	for _, s := range old.Result.Services {
		l.removed[s.Name] = true
	}
	l.want, l.set = p.want, p.set
	l.want.Removed = maps.Clone(l.removed)
	for _, s := range p.want.Result.Services {
		delete(l.want.Removed, s.Name)
	}
	for name := range l.services {
		if _, there := l.want.service(name); !there {
			delete(l.services, name)
		}
	}
	l.unread = nil
	l.have.Services = p.services
	l.have.Stale = l.staleBecauseOf(old)
	ledger := l.newLedger(p)
	l.have.Seen = l.stillSeen(ledger)
	l.have.Ledger = ledger
	l.group = groups(l.want)
	if l.opts.OnRead != nil {
		var names []string
		for _, s := range l.want.Result.Services {
			names = append(names, s.Name)
		}
		l.opts.OnRead(names)
	}
	for _, text := range p.set.warnings {
		l.send(Event{Kind: EventWarn, Why: text})
	}
}

// staleBecauseOf adds the images whose recipe is no longer what it was, or of
// which more is asked.
func (l *loop) staleBecauseOf(old Want) map[string]bool {
	stale := maps.Clone(l.have.Stale)
	if stale == nil {
		stale = map[string]bool{}
	}
	before := map[string]translate.Image{}
	for _, img := range old.Result.Images {
		before[img.Ref] = img
	}
	for _, img := range l.want.Result.Images {
		was, known := before[img.Ref]
		same := reflect.DeepEqual(was.Build, img.Build) && was.PullPolicy == img.PullPolicy && was.Platform == img.Platform && (was.Users || !img.Users)
		if known && !same {
			stale[img.Ref] = true
		}
	}
	return stale
}

// newLedger keeps of the ledger what the rules still cover, on top of what
// initial_sync asks for.
func (l *loop) newLedger(p prepared) map[string][]model.FileSync {
	ledger := map[string][]model.FileSync{}
	for service, files := range p.initial {
		if l.means(service).sync {
			ledger[service] = mergeFiles(nil, files)
		}
	}
	for service, files := range l.have.Ledger {
		kept := slices.DeleteFunc(slices.Clone(files), func(f model.FileSync) bool {
			return !slices.ContainsFunc(p.set.rules, func(r rule) bool { return r.service == service && r.leadsTo(f) })
		})
		if merged := mergeFiles(ledger[service], kept); len(merged) > 0 {
			ledger[service] = merged
		}
	}
	return ledger
}

// stillSeen lists the containers that have all of a new ledger too: those of a
// service that is to get more, by a new initial_sync, have not.
func (l *loop) stillSeen(ledger map[string][]model.FileSync) map[string]bool {
	seen := maps.Clone(l.have.Seen)
	for service, files := range ledger {
		old := map[model.FileSync]bool{}
		for _, f := range l.have.Ledger[service] {
			old[f] = true
		}
		if !slices.ContainsFunc(files, func(f model.FileSync) bool { return !old[f] }) {
			continue
		}
		for _, p := range l.have.Services[service].Pods {
			delete(seen, p.ContainerID)
		}
	}
	return seen
}

// leadsTo reports whether r could have asked for f.
func (r rule) leadsTo(f model.FileSync) bool {
	if !strings.HasPrefix(r.action, actionSync) {
		return false
	}
	if f.Source == "" {
		target := strings.TrimSuffix(r.target, "/")
		return f.Target == target || strings.HasPrefix(f.Target, target+"/")
	}
	return r.covers(f.Source) && r.inContainer(f.Source) == f.Target
}

// launchProject starts a turn over the whole project, taking over what is to
// be done for its services.
func (l *loop) launchProject(cause dirt) {
	dirty := Dirty{All: cause.cause(), Images: map[string]string{}, Restart: map[string]string{}, Sync: map[string]SyncWork{}}
	l.unfinished = nil
	taken := l.take(func(string) bool { return true })
	for _, name := range sortedKeys(taken) {
		l.addDirt(&dirty, name, taken[name])
	}
	l.launch(&trip{project: &cause, dirt: taken}, dirty)
}

// startUnfinished starts the turn over the whole project again that a newer
// change or a failure has cut short, once nothing is in its way.
func (l *loop) startUnfinished() bool {
	if l.unfinished == nil || l.projectDirt != nil || l.reading != nil || len(l.flights) > 0 {
		return false
	}
	for _, s := range l.services {
		if s.failed != nil || s.owed != nil || s.waiting != nil {
			return false
		}
	}
	l.launchProject(*l.unfinished)
	return true
}

// launch decides and starts a flight.
func (l *loop) launch(t *trip, dirty Dirty) {
	have := l.have
	t.turn = newTurn(l.e.deps, l.want, have, dirty)
	t.turn.output = func(service, line string) { l.outputs <- Event{Kind: EventOutput, Service: service, Line: line} }
	t.turn.warn = func(service, text string) { l.outputs <- Event{Kind: EventWarn, Service: service, Why: text} }
	t.flight = newFlight(Decide(l.want, have, dirty), limits(l.e.deps.Parallel))
	t.began = l.e.deps.Clock.Now()
	t.left = map[string]int{}
	for _, a := range t.plan.Actions {
		about := l.want.about(a)
		t.about = append(t.about, about)
		for _, name := range about {
			t.left[name]++
		}
	}
	for _, h := range t.plan.Holds {
		name, _ := strings.CutPrefix(h.Subject, "service:")
		l.send(Event{Kind: EventHold, Service: name, Why: h.Why})
	}
	l.flights = append(l.flights, t)
}

// about lists the services that an action is about: the one it names and those
// that run in the same pods, or those that use the image.
func (w Want) about(a Action) []string {
	if a.Image != "" {
		i := slices.IndexFunc(w.Result.Images, func(img translate.Image) bool { return img.Ref == a.Image })
		return slices.Clone(w.Result.Images[i].Services)
	}
	var names []string
	for _, s := range w.Result.Services {
		if a.Service != "" && (s.Name == a.Service || w.carrier(s.Name) == a.Service) {
			names = append(names, s.Name)
		}
	}
	return names
}
