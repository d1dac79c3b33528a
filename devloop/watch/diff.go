package watch

import (
	"maps"
	"slices"

	"github.com/berth-dev/berth/infra/model"
)

// A diff gathers what a look at the file system found.
type diff struct {
	writes   map[string]bool
	removals map[string]bool
	same     map[string]bool // saved without a change
}

func newDiff() diff {
	return diff{writes: map[string]bool{}, removals: map[string]bool{}, same: map[string]bool{}}
}

func (d *diff) written(path string) {
	d.writes[path] = true
	delete(d.same, path)
}

// removed notes a removal. What came and went since the last batch needs no
// write, but a removal does no harm.
func (d *diff) removed(path string) {
	delete(d.writes, path)
	delete(d.same, path)
	d.removals[path] = true
}

func (d *diff) unchanged(path string) {
	if !d.writes[path] {
		d.same[path] = true
	}
}

func (d *diff) empty() bool { return len(d.writes)+len(d.removals)+len(d.same) == 0 }

// changes lists removals, then writes, each sorted, so that directories come
// before what is in them and a file can take the place of a directory.
func (d *diff) changes() []model.FileChange {
	changes := make([]model.FileChange, 0, len(d.writes)+len(d.removals))
	for _, path := range sortedPaths(d.removals) {
		changes = append(changes, model.FileChange{Path: path, Op: model.FileRemoved})
	}
	for _, path := range sortedPaths(d.writes) {
		changes = append(changes, model.FileChange{Path: path, Op: model.FileWritten})
	}
	return changes
}

// sortedPaths lists the paths of a set, directories before what is in them.
func sortedPaths[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }
