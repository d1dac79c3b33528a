package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// native turns events of the operating system into a set of suspect paths.
// The maps belong to the goroutine of the tree; the rest is locked.
type native struct {
	fs     *fsnotify.Watcher
	now    func() time.Time
	ready  chan struct{} // something is pending
	done   sync.WaitGroup
	byID   map[fileID]*watchEntry
	byPath map[string]*watchEntry

	mu       sync.Mutex
	pending  map[string]suspicion
	first    time.Time // when the first of these came
	last     time.Time
	overflow bool
}

// suspicion is what the events on one path add up to.
type suspicion struct {
	fresh bool // it came, went or was renamed
}

// A watchEntry is one watch. Several directories of the index share it when
// symlinks lead to the same place.
type watchEntry struct {
	path string // as the operating system was told
	id   fileID
	dirs []*dir
}

func newNative(now func() time.Time) (*native, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &native{
		fs: w, now: now, ready: make(chan struct{}, 1), pending: map[string]suspicion{},
		byID: map[fileID]*watchEntry{}, byPath: map[string]*watchEntry{},
	}
	n.done.Go(n.pump)
	return n, nil
}

func (n *native) close() {
	_ = n.fs.Close() // the only error is that it was closed before
	n.done.Wait()
}

// pump empties the queue of the operating system as fast as it can, so that it
// does not overflow while the tree is busy. It ends when fs is closed.
func (n *native) pump() {
	events, errs := n.fs.Events, n.fs.Errors
	for events != nil || errs != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			n.note(func() {
				s := n.pending[e.Name]
				s.fresh = s.fresh || e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
				n.pending[e.Name] = s
			})
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// An overflow, or a read that failed: either way events are lost.
			n.note(func() { n.overflow = true })
		}
	}
}

func (n *native) note(what func()) {
	n.mu.Lock()
	n.last = n.now()
	if len(n.pending) == 0 && !n.overflow {
		n.first = n.last
	}
	what()
	n.mu.Unlock()
	select {
	case n.ready <- struct{}{}:
	default:
	}
}

// take returns what is pending, under the paths of the index, and forgets it.
func (n *native) take() (suspects map[string]suspicion, first, last time.Time, overflow bool) {
	n.mu.Lock()
	pending := n.pending
	n.pending = map[string]suspicion{}
	first, last, overflow = n.first, n.last, n.overflow
	n.overflow = false
	n.mu.Unlock()
	suspects = make(map[string]suspicion, len(pending))
	add := func(path string, s suspicion) {
		s.fresh = s.fresh || suspects[path].fresh
		suspects[path] = s
	}
	for path, s := range pending {
		if e := n.byPath[path]; e != nil { // the directory itself
			for _, d := range e.dirs {
				add(d.path, s)
			}
		}
		if e := n.byPath[filepath.Dir(path)]; e != nil {
			for _, d := range e.dirs {
				add(filepath.Join(d.path, filepath.Base(path)), s)
			}
		}
	}
	return suspects, first, last, overflow
}

// watch has d covered by events, or else polled.
func (t *tree) watch(d *dir) {
	e, err := t.native.add(d)
	switch {
	case err == nil:
		d.watch = e
		delete(t.polled, d)
	case gone(err):
	case errors.Is(err, fs.ErrPermission) && !t.roots.inside(d.path):
		t.polled[d] = true // only leads to a root: looking at single names may still be allowed
	case errors.Is(err, fs.ErrPermission):
		d.unreadable = true
		t.notify(Notice{Text: "directory " + d.path + " cannot be read and is not watched: " + cause(err), Hint: "make it readable, or ignore it"})
	default:
		t.polled[d] = true
		t.notify(limitNotice(err))
	}
}

// add watches d. A directory that was moved keeps its watch under the old
// name, which is of no use any more.
func (n *native) add(d *dir) (*watchEntry, error) {
	if e := n.byID[d.id]; e != nil && d.id != (fileID{}) && e.path != d.path {
		if info, err := os.Stat(e.path); err == nil && idOf(info) == d.id {
			e.dirs = append(e.dirs, d)
			return e, nil
		}
		n.remove(e)
	}
	if e := n.byPath[d.path]; e != nil {
		n.remove(e)
	}
	if err := n.fs.Add(d.path); err != nil {
		return nil, err
	}
	e := &watchEntry{path: d.path, id: d.id, dirs: []*dir{d}}
	n.byPath[e.path] = e
	if e.id != (fileID{}) {
		n.byID[e.id] = e
	}
	return e, nil
}

// remove gives up a watch. That it is gone already is the usual case.
func (n *native) remove(e *watchEntry) {
	_ = n.fs.Remove(e.path)
	for _, d := range e.dirs {
		d.watch = nil
	}
	delete(n.byPath, e.path)
	if n.byID[e.id] == e {
		delete(n.byID, e.id)
	}
}

// unwatch gives up the watches of d and all below it.
func (t *tree) unwatch(d *dir) {
	t.unwatchOne(d)
	for _, sub := range d.dirs {
		t.unwatch(sub.value)
	}
}

func (t *tree) unwatchOne(d *dir) {
	delete(t.polled, d)
	e := d.watch
	if e == nil || t.native == nil {
		return
	}
	d.watch = nil
	for i, other := range e.dirs {
		if other == d {
			e.dirs = append(e.dirs[:i], e.dirs[i+1:]...)
			break
		}
	}
	if len(e.dirs) == 0 {
		t.native.remove(e)
	}
}
