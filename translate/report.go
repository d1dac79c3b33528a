package translate

import (
	"sort"
	"strconv"
	"strings"
)

// reporter collects the report of one translation.
type reporter struct {
	positions Positions
	target    TargetKind
	parts     map[string]bool // services.web, volumes.data ...: what entries belong to
	dotted    bool            // some of them have dots in their names
	entries   []Entry
	seen      map[string]bool // paths with an entry
	lost      map[string]bool // those of them that are dropped
}

func newReporter(in Input, target TargetKind) *reporter {
	p := in.Project
	r := &reporter{positions: in.Positions, target: target, entries: make([]Entry, 0, len(in.Positions)), parts: map[string]bool{}, seen: make(map[string]bool, len(in.Positions)), lost: map[string]bool{}}
	addParts(r, "services", p.Services)
	addParts(r, "jobs", p.Jobs)
	addParts(r, "networks", p.Networks)
	addParts(r, "volumes", p.Volumes)
	addParts(r, "secrets", p.Secrets)
	addParts(r, "configs", p.Configs)
	addParts(r, "models", p.Models)
	for _, name := range in.LeftOut {
		r.addPart("services", name)
	}
	return r
}

func addParts[V any](r *reporter, section string, entries map[string]V) {
	for name := range entries {
		r.addPart(section, name)
	}
}

func (r *reporter) addPart(section, name string) {
	r.parts[section+"."+name] = true
	r.dotted = r.dotted || strings.ContainsAny(name, ".[")
}

// part is the longest prefix of a path that names a service, volume and so on:
// names may hold dots.
func (r *reporter) part(path string) string {
	best := ""
	for i := strings.IndexByte(path, '.') + 1; i > 0 && i <= len(path); i++ {
		if i < len(path) && path[i] != '.' && path[i] != '[' {
			continue
		}
		if r.parts[path[:i]] {
			best = path[:i]
		}
		if !r.dotted {
			break
		}
	}
	return best
}

// add reports what became of the attribute at path.
func (r *reporter) add(path string, status Status, done, do string) {
	r.put(Entry{Path: path, Status: status, Done: done, Do: do})
}

// block reports a loss that `up` must not gloss over.
func (r *reporter) block(path string, status Status, done, do string) {
	r.put(Entry{Path: path, Status: status, Done: done, Do: do, Blocks: true})
}

func (r *reporter) put(e Entry) {
	e.Position, e.Part = r.position(e.Path), r.part(e.Path)
	r.entries = append(r.entries, e)
	r.seen[e.Path] = true
	if e.Status == Dropped {
		r.lost[e.Path] = true
	}
}

func (r *reporter) exact(path, done string)            { r.add(path, Exact, done, "") }
func (r *reporter) approximated(path, done, do string) { r.add(path, Approximated, done, do) }
func (r *reporter) needsCluster(path, done, do string) { r.add(path, NeedsCluster, done, do) }
func (r *reporter) dropped(path, done, do string)      { r.add(path, Dropped, done, do) }

// position is the place of the longest known prefix of path.
func (r *reporter) position(path string) Position {
	for p := path; p != ""; p = parentPath(p) {
		if pos, ok := r.positions[p]; ok {
			return pos
		}
	}
	return Position{}
}

// covered reports whether path, or something above it that is longer than
// base, has an entry.
func (r *reporter) covered(path string, base int) bool {
	for p := path; len(p) > base; p = parentPath(p) {
		if r.seen[p] {
			return true
		}
	}
	return false
}

// parentPath takes the last key or index off an attribute path.
func parentPath[T string | []byte](path T) T {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return path[:0]
}

// itemPath is the path of an entry of a list: services.web.ports[0].
func itemPath(path, list string, i int) string {
	return path + "." + list + "[" + strconv.Itoa(i) + "]"
}

// finish returns the entries in order, without repetitions.
func (r *reporter) finish() []Entry {
	sort.Slice(r.entries, func(i, j int) bool {
		a, b := &r.entries[i], &r.entries[j]
		if a.Path != b.Path {
			return a.Path < b.Path
		}
		if a.Status != b.Status {
			return a.Status.severity() > b.Status.severity()
		}
		if a.Done != b.Done {
			return a.Done < b.Done
		}
		return a.Do < b.Do
	})
	kept := r.entries[:0]
	for i, e := range r.entries {
		if i == 0 || e != kept[len(kept)-1] {
			kept = append(kept, e)
		}
	}
	return kept
}

// severity orders the statuses, worst last.
func (s Status) severity() int {
	switch s {
	case Exact:
		return 0
	case Approximated:
		return 1
	case NeedsCluster:
		return 2
	}
	return 3
}
