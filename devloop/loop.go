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

// Dev does what Up does and then follows the files: it syncs, restarts,
// rebuilds and applies until ctx ends, which it reports as the error. Failures
// are events; the loop goes on.
func (e *Engine) Dev(ctx context.Context, opts DevOptions) error {
	e.deps.Target.Dev = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoop(e, opts)
	first := l.prepare(ctx, nil)
	if first.err != nil {
		return first.err
	}
	watcher, err := watch.Start(ctx, watch.Config{Roots: first.set.roots(), Mode: e.deps.Watch, Clock: e.deps.Clock, Notify: l.notice})
	if err != nil {
		return err
	}
	defer watcher.Close()
	l.watcher = watcher
	l.adopt(first)
	l.send(Event{Kind: EventWatching, Files: watcher.Stats().Files})
	return l.run(ctx)
}

// A loop follows the files of one project. Its run is the only goroutine that
// touches its state; work happens elsewhere and comes back on channels.
type loop struct {
	e       *Engine
	opts    DevOptions
	watcher *watch.Watcher

	want     Want
	have     Have // its maps are replaced, never changed: flights read them
	set      watchSet
	services map[string]*serviceState
	group    map[string]string // service -> the first service of those that must not be worked on at once
	flights  []*trip
	seq      uint64
	removed  map[string]bool // services the project had in the course of this loop

	unfinished  *dirt         // a turn over the whole project was not carried out in full
	started     bool          // a turn over the whole project is over
	failed      []error       // what failed of what belongs to no single service
	unread      error         // why the project as its files are now could not be read
	projectDirt *dirt         // the project is to be read again
	reading     *dirt         // it is being read, for this
	deferred    []watch.Batch // changes that came meanwhile
	backoff     time.Duration
	retry       watch.Timer
	rest        watch.Timer
	look        watch.Timer
	hurry       watch.Timer

	results  chan result
	prepared chan prepared
	observed chan observation
	notices  chan watch.Notice
	outputs  chan Event
	programs chan programState
	back     chan string // nodes that answer again
	workers  workers

	attended map[string]context.CancelFunc // supervised containers whose programs are watched, by PodState.ContainerID
	crashed  map[string]programState       // those whose programs have ended
	greeted  map[string]bool               // containers that a sync was tried for since the cluster was last observed
	reloaded map[string]bool               // pods, by name, for which images were loaded once more
	starts   map[string]int                // how often the programs of containers had been started when the loop last had it done
	synced   map[string]time.Time          // when files of a service were last read for its containers
	asking   []model.PodState              // one of each node that is to be asked until it answers
}

// A trip is a flight with what it is about.
type trip struct {
	*flight
	turn    *turn
	project *dirt           // of the whole project; nil
	greets  bool            // it only brings what was synced into new containers
	dirt    map[string]dirt // by service; for the project: what it took over
	began   time.Time
	about   [][]string     // the services that an action is about, by ID-1
	left    map[string]int // actions of a service that have not ended
}

// serviceState is where one service stands.
type serviceState struct {
	pending *dirt           // what is to be done
	owed    *dirt           // what failed or was not started: it is done along with what is pending next
	failed  error           // why it does not serve; nil
	ended   bool            // failed because its program has ended, in a container that is all right
	late    bool            // it may yet come to serve by itself: it was waited for in vain
	waiting map[string]bool // services because of which it was not started, "" for the project; nil when it was
}

// take hands over all that is to be done, so that no flight is about a service
// that is owed something.
func (s *serviceState) take() dirt {
	var d dirt
	if s.owed != nil {
		d = *s.owed
		d.again = false
	}
	if s.pending != nil {
		d.merge(*s.pending)
	}
	if s.failed != nil && !s.ended && d.apply == "" {
		d.apply = "did not serve before" // so that it is waited for
	}
	s.pending, s.owed = nil, nil
	return d
}

// Phase is where a service stands in the loop.
type Phase string

// The phases of a service.
const (
	PhaseIdle    Phase = "idle"    // nothing was done yet
	PhaseDirty   Phase = "dirty"   // files changed
	PhaseActing  Phase = "acting"  // something is being done
	PhaseVerify  Phase = "verify"  // done, and waited for
	PhaseServing Phase = "serving" // the files on disk serve
	PhaseFailed  Phase = "failed"  // they do not
)

func newLoop(e *Engine, opts DevOptions) *loop {
	return &loop{
		e: e, opts: opts, services: map[string]*serviceState{}, group: map[string]string{}, removed: map[string]bool{},
		results: make(chan result), prepared: make(chan prepared), observed: make(chan observation),
		notices: make(chan watch.Notice, 64), outputs: make(chan Event, 256), programs: make(chan programState), back: make(chan string),
		attended: map[string]context.CancelFunc{}, crashed: map[string]programState{}, greeted: map[string]bool{}, reloaded: map[string]bool{},
		starts: map[string]int{}, synced: map[string]time.Time{},
		have: Have{Facts: map[string]model.ImageFacts{}, Loaded: map[string]bool{}, Seen: map[string]bool{}, Ledger: map[string][]model.FileSync{}},
	}
}

// run is the loop. It returns when ctx ends, or with Once when the project
// serves or cannot.
func (l *loop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.drain()
	defer cancel()
	l.workers.start(ctx, l)
	l.launchProject(dirt{apply: "up"})
	batches := l.watcher.Batches()
	for {
		if done, err := l.advance(ctx); done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b, ok := <-batches:
			if !ok {
				batches = nil // ctx ended
				continue
			}
			l.changed(b)
		case r := <-l.results:
			if ctx.Err() == nil { // else what failed, the end has cut short
				l.ended(r)
			}
		case p := <-l.prepared:
			if ctx.Err() == nil {
				l.readAgain(p)
			}
		case o := <-l.observed:
			l.observe(ctx, o)
		case p := <-l.programs:
			l.program(p)
		case node := <-l.back:
			l.nodeBack(node)
		case n := <-l.notices:
			l.send(Event{Kind: EventWarn, Why: n.Text, Line: n.Hint})
		case ev := <-l.outputs:
			l.send(ev)
		case c, ok := <-l.opts.Commands:
			if !ok {
				l.opts.Commands = nil
				continue
			}
			l.command(c)
		case <-watch.Fired(l.retry):
			l.retry = nil
			l.tryAgain()
		case <-watch.Fired(l.look):
			l.look = nil
			l.allRecovered()
		case <-watch.Fired(l.hurry):
			l.hurry = nil
			l.giveUpWaits()
		case <-watch.Fired(l.rest):
			l.rest = nil
			l.takeRest()
		}
	}
}

// advance starts whatever can start, until nothing more can.
func (l *loop) advance(ctx context.Context) (done bool, err error) {
	for {
		if ctx.Err() != nil { // what is not started then was not done, and nothing is said of it
			return true, context.Cause(ctx)
		}
		for _, t := range l.flights {
			report := l.e.skipped(t.turn.want)
			list := t.next(ctx, func(a Action, reason string) {
				report(a, reason)
				l.actionEnded(t, a.ID)
			})
			l.workers.launch(l, t, list)
		}
		i := slices.IndexFunc(l.flights, func(t *trip) bool { return t.over() })
		if i >= 0 {
			t := l.flights[i]
			l.flights = slices.Delete(l.flights, i, i+1)
			l.settle(t)
			continue
		}
		if l.attend(ctx) || l.startProject(ctx) || l.startGroup() || l.startUnfinished() {
			continue
		}
		if l.opts.Once && len(l.flights) == 0 && l.reading == nil {
			return true, l.outcome()
		}
		l.hurryLater()
		return false, nil
	}
}

// drain waits for everything that was started, and lets it hand in its result.
func (l *loop) drain() {
	for _, t := range []watch.Timer{l.retry, l.rest, l.look, l.hurry} {
		if t != nil {
			t.Stop()
		}
	}
	over := make(chan struct{})
	go func() {
		l.workers.wait()
		close(over)
	}() // ends with the workers, which drain awaits
	for {
		select {
		case <-l.results:
		case <-l.prepared:
		case <-l.observed:
		case <-l.programs:
		case <-l.back:
		case <-l.outputs:
		case <-over:
			return
		}
	}
}

// send passes an event on with its time.
func (l *loop) send(ev Event) {
	ev.Time = l.e.deps.Clock.Now()
	if ev.Service != "" {
		ev.Phase = l.phase(ev.Service)
	}
	l.e.deps.Events(ev)
}

// notice takes what the watcher says, from its goroutine.
func (l *loop) notice(n watch.Notice) {
	select {
	case l.notices <- n:
	default: // sixty-four unsaid notices say enough
	}
}

// state returns the state of a service, made when first asked for.
func (l *loop) state(service string) *serviceState {
	s := l.services[service]
	if s == nil {
		s = &serviceState{}
		l.services[service] = s
	}
	return s
}

// changed takes a batch of file changes.
func (l *loop) changed(b watch.Batch) {
	if l.reading != nil {
		l.deferred = append(l.deferred, b)
		return
	}
	l.seq++
	base := l.want.Input.Project.WorkingDir
	for _, c := range b.Changes {
		if l.set.redefines(c.Path) {
			if l.projectDirt == nil {
				l.projectDirt = &dirt{}
			}
			l.projectDirt.again = false
			l.projectDirt.merge(dirt{seq: l.seq, moments: moments{b.Saved, b.First, b.Flushed}, paths: []string{displayPath(base, c.Path)}})
		}
	}
	for _, r := range l.set.vanished(b) {
		l.send(Event{Kind: EventWarn, Service: r.service, Seq: l.seq, Why: fmt.Sprintf("%s: path %q is gone; the rule waits for it", r.why, displayPath(base, r.path))})
	}
	byService, holds := l.set.classify(b, base, l.means)
	for _, h := range holds {
		l.send(Event{Kind: EventHold, Service: h.Subject[len("service:"):], Seq: l.seq, Why: h.Why})
	}
	for _, name := range sortedKeys(byService) {
		d := byService[name]
		d.seq = l.seq
		l.takeChange(name, *d, joinWords(d.whys))
		l.giveUpFor(name, d.rebuild)
	}
	again := l.readMeanwhile(b, base)
	for _, name := range sortedKeys(again) {
		d := again[name]
		d.seq = l.seq
		l.takeChange(name, *d, "saved while it was read")
		l.giveUpFor(name, false) // a build goes on: most likely it has read all of it
	}
	if len(b.Changes)+len(again) == 0 && len(b.Same) > 0 {
		l.send(Event{Kind: EventSame, Cause: displayPath(base, b.Same[0]), Files: len(b.Same), Why: "content unchanged"})
	}
	if l.projectDue() {
		l.takeProject()
	}
}

// takeChange adds dirt to a service and says so.
func (l *loop) takeChange(service string, d dirt, why string) {
	l.owe(service, d)
	l.send(Event{Kind: EventChange, Service: service, Seq: l.seq, Cause: d.cause(), Action: d.action(), Why: why, Files: len(d.paths) + d.more})
}

// soil adds dirt to a service and gives up work that it makes pointless.
func (l *loop) soil(service string, d dirt) {
	l.owe(service, d)
	l.giveUpFor(service, d.rebuild)
}

// owe adds dirt to a service.
func (l *loop) owe(service string, d dirt) {
	s := l.state(service)
	if s.pending == nil {
		s.pending = &dirt{}
	}
	s.pending.merge(d)
	if d.rebuild {
		l.setStale(service)
	}
	if len(d.files) > 0 {
		ledger := maps.Clone(l.have.Ledger)
		ledger[service] = mergeFiles(ledger[service], d.files)
		l.have.Ledger = ledger
	}
}

// giveUpFor gives up what runs for the group of a service: all of it when the
// service is to be rebuilt, else only waiting for what may never come.
func (l *loop) giveUpFor(service string, rebuild bool) {
	members := l.members(service)
	for _, t := range l.flights {
		if !rebuild && !l.onlyWaits(t, members) {
			continue
		}
		if t.giveUp(func(a Action) bool { return l.touches(t, a, members) }) {
			l.send(Event{Kind: EventCancel, Service: service, Why: "a newer change"})
		}
	}
}

// hurryAfter is how long a wait may keep a change waiting that came before it
// began: most waits end at once, and then both changes are said to serve.
const hurryAfter = 200 * time.Millisecond

// hurryLater sees to it that no change waits for long until what it may cure comes
// to serve.
func (l *loop) hurryLater() {
	if l.hurry != nil {
		return
	}
	for name, s := range l.services {
		if s.pending != nil && slices.ContainsFunc(l.flights, func(t *trip) bool { return l.onlyWaits(t, l.members(name)) }) {
			l.hurry = l.e.deps.Clock.NewTimer(hurryAfter)
			return
		}
	}
}

// giveUpWaits gives up waits that keep changes waiting.
func (l *loop) giveUpWaits() {
	for _, name := range sortedKeys(l.services) {
		if l.services[name].pending != nil {
			l.giveUpFor(name, false)
		}
	}
}

// onlyWaits reports whether all that a flight still does about the services is to
// wait.
func (l *loop) onlyWaits(t *trip, services map[string]bool) bool {
	mine := func(a Action) bool { return l.touches(t, a, services) }
	return t.pending(mine) && !t.pending(func(a Action) bool { return mine(a) && a.Verb != Wait })
}

// touches reports whether an action is about one of the services.
func (l *loop) touches(t *trip, a Action, services map[string]bool) bool {
	return slices.ContainsFunc(t.about[a.ID-1], func(name string) bool { return services[name] })
}

// command does what the user asks for.
func (l *loop) command(c Command) {
	l.seq++
	now := l.e.deps.Clock.Now()
	for _, s := range l.want.Result.Services {
		if c.Service != "" && c.Service != s.Name || !l.want.Select[s.Name] {
			continue
		}
		d := dirt{seq: l.seq, moments: moments{now, now, now}}
		switch {
		case c.Verb == CommandRebuild && l.builds(s.Name):
			d.rebuild = true
		case c.Verb == CommandRebuild && c.Service == "":
			continue
		case c.Verb == CommandRestart && l.supervised(s.Name):
			d.rerun = true // its files stay, as after a restart of Docker's
		default:
			d.replace = true
		}
		l.takeChange(s.Name, d, "asked for")
		l.giveUpFor(s.Name, d.rebuild)
	}
}

// means is what can be done to a service.
func (l *loop) means(service string) means {
	canSync := l.e.deps.Syncer != nil
	return means{sync: canSync && !l.have.Unsyncable[service], rerun: canSync && !l.have.Unsupervised[service], build: l.builds(service)}
}

// builds reports whether a service is built rather than pulled.
func (l *loop) builds(service string) bool {
	return l.want.Input.Project.Services[service].Build != nil && !l.opts.Up.NoBuild
}

// tryAgain takes up what failed for reasons that may pass.
func (l *loop) tryAgain() {
	for _, name := range sortedKeys(l.services) {
		s := l.services[name]
		if s.owed != nil && s.owed.again && s.pending == nil {
			s.pending = &dirt{}
		}
	}
	if l.projectDirt != nil {
		l.projectDirt.again = false
		for _, t := range l.flights { // else it, and all that comes after it, might wait for ever
			t.giveUp(func(a Action) bool { return a.Verb == Wait })
		}
	}
}

// again reports how long to wait before a further try, longer each time. What
// fails meanwhile is tried again with it.
func (l *loop) again() time.Duration {
	if l.retry == nil {
		l.backoff = min(max(2*l.backoff, time.Second), 30*time.Second)
		l.retry = l.e.deps.Clock.NewTimer(l.backoff)
	}
	return l.backoff
}

func joinWords(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return fmt.Sprintf("%s and %d more", words[0], len(words)-1)
}

// transient reports whether an action may well succeed when tried again though
// nothing changed: it failed in the engine or the cluster, not in the project.
func transient(v Verb, err error) bool {
	if errors.As(err, new(otherThanWritten)) {
		return false
	}
	switch v {
	case Load, Apply, Prune, Sync, Restart:
		return !errors.Is(err, context.Canceled) && !errors.Is(err, ErrCannotSync)
	case Rerun:
		return !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNoSupervisor) && !programEnded(err)
	}
	return false
}
