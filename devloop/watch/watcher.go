package watch

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// Config says what to watch and how.
type Config struct {
	Roots     []Root
	Mode      Mode
	Quiet     time.Duration // of a burst before it is reported; 0: 15 ms
	Longest   time.Duration // between the first event and the report, for those who never pause; 0: 300 ms
	PollEvery time.Duration // at the least, where events do not help; 0: 250 ms
	Clock     Clock         // nil: the system's
	Notify    func(Notice)  // nil: dropped; called from the watcher's goroutine
}

// A Notice is something the user should know, said once.
type Notice struct{ Text, Hint string }

// A Batch is what changed in one burst.
type Batch struct {
	Changes []model.FileChange // removals, then writes, each sorted by path; directories included
	Same    []string           // files that were saved without a change, sorted
	Saved   time.Time          // when the first of these files was written, as far as the file system tells
	First   time.Time          // when the first event came
	Flushed time.Time          // when the burst was over
}

// Stats says how large the index is.
type Stats struct {
	Files, Dirs int
	Watched     int // directories that events cover
	Polled      int // directories that are polled
	Scans       int // how often everything was looked at
	Unhashed    int // files whose content is still to be read for the first time
}

// A Watcher reports changes below roots.
type Watcher struct {
	cfg     Config
	clock   Clock
	batches chan Batch
	roots   chan rootsRequest
	cancel  context.CancelFunc
	done    sync.WaitGroup
	said    map[Notice]bool

	mu    sync.Mutex
	stats Stats

	tree  *tree
	burst debounce
	// suspects are the paths to look at when the burst is over.
	suspects map[string]suspicion
	scanAll  bool // events were lost
	timer    Timer
	poll     Timer
	scans    int
	unhashed int
	took     time.Duration // of the last look at everything that is polled
}

type rootsRequest struct {
	roots []Root
	done  chan struct{}
}

// Start watches until ctx ends or Close is called. Whatever changes after it
// has returned is reported.
func Start(ctx context.Context, cfg Config) (*Watcher, error) {
	cfg.Quiet = cmp.Or(cfg.Quiet, 15*time.Millisecond)
	cfg.Longest = cmp.Or(cfg.Longest, 300*time.Millisecond)
	cfg.PollEvery = cmp.Or(cfg.PollEvery, 250*time.Millisecond)
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Watcher{
		cfg: cfg, clock: cfg.Clock, batches: make(chan Batch), roots: make(chan rootsRequest), cancel: cancel,
		said: map[Notice]bool{}, suspects: map[string]suspicion{}, burst: debounce{quiet: cfg.Quiet, longest: cfg.Longest},
	}
	w.tree = newTree(w.clock.Now, w.say)
	if cfg.Mode.resolve() == Native {
		if n, err := newNative(w.clock.Now); err != nil {
			w.say(limitNotice(err))
		} else {
			w.tree.native = n
		}
	}
	w.setRoots(cfg.Roots)   // all of it comes into view
	w.tree.diff = newDiff() // and nothing of it is news
	hashed, jobs := make(chan []hashJob), w.tree.unhashed(hashBudget)
	w.unhashed = len(jobs)
	w.updateStats()
	w.done.Go(func() { hashFiles(ctx, jobs, hashed) })
	w.done.Go(func() { w.run(ctx, hashed) })
	return w, nil
}

// Batches returns the channel of changes. It is closed when the watcher ends.
func (w *Watcher) Batches() <-chan Batch { return w.batches }

// Close ends the watcher and waits until it has.
func (w *Watcher) Close() {
	w.cancel()
	w.done.Wait()
}

// SetRoots replaces the roots. What changed before it returns under old roots
// is reported, what comes into view is not.
func (w *Watcher) SetRoots(ctx context.Context, rs []Root) {
	r := rootsRequest{rs, make(chan struct{})}
	select {
	case w.roots <- r:
		select {
		case <-r.done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

// Stats returns the size of the index.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

func (w *Watcher) say(n Notice) {
	if w.said[n] || w.cfg.Notify == nil {
		return
	}
	w.said[n] = true
	w.cfg.Notify(n)
}

// run is the only goroutine that touches the tree after Start.
func (w *Watcher) run(ctx context.Context, hashed <-chan []hashJob) {
	defer close(w.batches)
	defer func() {
		if w.tree.native != nil {
			w.tree.native.close()
		}
	}()
	defer w.stopTimers()
	var batch *Batch
	for {
		w.arm()
		var out chan<- Batch
		var next Batch
		if batch != nil {
			out, next = w.batches, *batch
		}
		select {
		case <-ctx.Done():
			return
		case out <- next:
			batch = nil
		case <-w.nativeReady():
			w.collect()
		case <-Fired(w.timer):
			w.timer = nil
			if !w.clock.Now().Before(w.burst.deadline()) {
				batch = w.flush(batch)
			}
		case <-Fired(w.poll):
			w.poll = nil
			batch = w.pollNow(batch)
		case jobs, ok := <-hashed:
			if !ok {
				hashed = nil
			}
			w.tree.learn(jobs)
			w.unhashed -= len(jobs)
			w.updateStats()
		case r := <-w.roots:
			w.setRoots(r.roots)
			batch = w.report(batch, w.clock.Now())
			close(r.done)
		}
	}
}

func (w *Watcher) nativeReady() <-chan struct{} {
	if w.tree.native == nil {
		return nil
	}
	return w.tree.native.ready
}

func (w *Watcher) stopTimers() {
	for _, t := range []Timer{w.timer, w.poll} {
		if t != nil {
			t.Stop()
		}
	}
}

// arm starts the timers that are due to run and do not.
func (w *Watcher) arm() {
	if deadline := w.burst.deadline(); w.timer == nil && !deadline.IsZero() {
		w.timer = w.clock.NewTimer(deadline.Sub(w.clock.Now()))
	}
	if w.poll == nil && (w.tree.native == nil || len(w.tree.polled) > 0) {
		// A look that takes long is not repeated often.
		w.poll = w.clock.NewTimer(min(max(w.cfg.PollEvery, 10*w.took), max(w.cfg.PollEvery, 10*time.Second)))
	}
}

// collect takes over the events that came.
func (w *Watcher) collect() {
	suspects, first, last, overflow := w.tree.native.take()
	for _, path := range sortedPaths(suspects) { // those of a directory together: a Matcher remembers one directory
		s := suspects[path]
		if !w.tree.roots.wantsFile(path) && !w.tree.roots.wantsDir(path) {
			continue
		}
		s.fresh = s.fresh || w.suspects[path].fresh
		w.suspects[path] = s
		w.burst.event(first, last, len(w.suspects))
	}
	if overflow {
		w.scanAll = true
		w.burst.event(first, last, burstPaths+1)
	}
}

// flush looks at what the burst left and adds it to the batch.
func (w *Watcher) flush(batch *Batch) *Batch {
	first := w.burst.reset()
	suspects := w.suspects
	w.suspects = map[string]suspicion{}
	if w.scanAll {
		w.scanAll = false
		w.renew()
	}
	for _, path := range sortedPaths(suspects) {
		w.tree.look(path, how{content: true, fresh: suspects[path].fresh})
	}
	return w.report(batch, first)
}

// pollNow looks at what events do not cover.
func (w *Watcher) pollNow(batch *Batch) *Batch {
	start := w.clock.Now()
	if w.tree.native == nil {
		w.scanEverything()
	} else {
		for d := range w.tree.polled {
			w.tree.sync(d, how{})
		}
	}
	w.took = w.clock.Now().Sub(start)
	return w.report(batch, start)
}

// renew starts over with the operating system: some of its events were lost,
// so a watch may be on a directory that is no longer where it was.
func (w *Watcher) renew() {
	w.tree.native.close()
	for _, d := range w.tree.volumes {
		w.tree.unwatch(d)
	}
	w.tree.native = nil
	n, err := newNative(w.clock.Now)
	if err != nil {
		w.say(limitNotice(err))
	} else {
		w.tree.native = n
	}
	w.scanEverything()
}

func (w *Watcher) scanEverything() {
	w.tree.scan()
	w.scans++
	w.updateStats()
}

// setRoots replaces the roots and looks at everything once.
func (w *Watcher) setRoots(rs []Root) {
	w.tree.before, w.tree.roots = w.tree.roots, rs
	w.scanEverything()
	w.tree.before = rs
}

// report makes a batch of what was found, or adds it to one that nobody has
// taken yet.
func (w *Watcher) report(batch *Batch, first time.Time) *Batch {
	w.updateStats()
	if w.tree.diff.empty() {
		return batch
	}
	d := w.tree.diff
	w.tree.diff = newDiff()
	b := Batch{Changes: d.changes(), Same: sortedPaths(d.same), First: first, Flushed: w.clock.Now()}
	b.Saved = w.savedAt(b)
	if batch == nil {
		return &b
	}
	// What was removed first and written later must come out in that order.
	batch.Changes = append(batch.Changes, b.Changes...)
	batch.Same = append(batch.Same, b.Same...)
	batch.Flushed = b.Flushed
	return batch
}

// savedAt is when the first change was made, as far as the times of the files
// tell: those of a checkout or a copy may lie long before.
func (w *Watcher) savedAt(b Batch) time.Time {
	saved := b.First
	look := func(path string) {
		if f, ok := w.tree.file(path); ok {
			if at := time.Unix(0, f.mtime); at.Before(saved) && b.First.Sub(at) < time.Second {
				saved = at
			}
		}
	}
	for _, c := range b.Changes {
		look(c.Path)
	}
	for _, path := range b.Same {
		look(path)
	}
	return saved
}

func (w *Watcher) updateStats() {
	s := Stats{Files: w.tree.files, Dirs: w.tree.dirs, Polled: len(w.tree.polled), Scans: w.scans, Unhashed: w.unhashed}
	if w.tree.native != nil {
		s.Watched = len(w.tree.native.byPath)
	} else {
		s.Polled = s.Dirs
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats = s
}
