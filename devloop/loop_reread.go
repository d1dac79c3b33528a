package devloop

import (
	"slices"
	"time"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
)

// saidWithin is how late a busy machine may tell the watcher of a save.
const saidWithin = 250 * time.Millisecond

// readMeanwhile lists the files that a batch holds for saved without a change,
// but that a sync was reading while they were saved: it may have seen them empty,
// absent, or as they were for a moment between two equal states, and then
// nothing else would tell that the containers have something else.
func (l *loop) readMeanwhile(b watch.Batch) []model.FileChange {
	if len(b.Same) == 0 {
		return nil
	}
	read := map[string]bool{}
	for service, files := range l.have.Ledger {
		if !l.syncedSince(service, b.Saved.Add(-saidWithin)) {
			continue
		}
		for _, f := range files {
			read[f.Source] = true
		}
	}
	for _, c := range b.Changes { // of several bursts, maybe: what is said of it last stands
		delete(read, c.Path)
	}
	var changes []model.FileChange
	for _, path := range b.Same {
		if read[path] {
			changes = append(changes, model.FileChange{Path: path, Op: model.FileWritten})
		}
	}
	return changes
}

// syncedSince reports whether files of a service were read for its containers
// at some time since then.
func (l *loop) syncedSince(service string, then time.Time) bool {
	return !l.synced[service].Before(then) || slices.ContainsFunc(l.flights, func(t *trip) bool {
		for id := range t.running {
			if a := t.plan.Actions[id-1]; a.Verb == Sync && a.Service == service {
				return true
			}
		}
		return false
	})
}
