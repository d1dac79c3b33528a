package devloop

import (
	"maps"
	"slices"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
)

// saidWithin is how late a busy machine may tell the watcher of a save.
const saidWithin = 250 * time.Millisecond

// readMeanwhile is what is to be done, by service, about files that a batch holds
// for saved without a change, but that a sync or a build was reading while they
// were saved: it may have seen them empty, absent, or as they were for a moment
// between two equal states, and then nothing else would tell that the containers
// have something else.
func (l *loop) readMeanwhile(b watch.Batch, base string) map[string]*dirt {
	changed := map[string]bool{} // of several bursts, maybe: what is said of a file last stands
	for _, c := range b.Changes {
		changed[c.Path] = true
	}
	again := watch.Batch{Saved: b.Saved, First: b.First, Flushed: b.Flushed}
	for _, path := range b.Same {
		if !changed[path] {
			again.Changes = append(again.Changes, model.FileChange{Path: path, Op: model.FileWritten})
		}
	}
	byService, _ := l.set.classify(again, base, l.means)
	maps.DeleteFunc(byService, func(service string, d *dirt) bool {
		return !d.rebuild && len(d.files) == 0 || !l.readSince(service, b.Saved)
	})
	return byService
}

// readSince reports whether files of a service were read for its containers at
// some time since then, or are read for its image: a build goes on for longer
// than it takes to tell of a save.
func (l *loop) readSince(service string, then time.Time) bool {
	return !l.synced[service].Before(then.Add(-saidWithin)) || slices.ContainsFunc(l.flights, func(t *trip) bool {
		for id := range t.running {
			a := t.plan.Actions[id-1]
			if (a.Verb == Sync || a.Verb == Build) && slices.Contains(t.about[id-1], service) {
				return true
			}
		}
		return false
	})
}
