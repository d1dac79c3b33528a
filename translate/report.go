package translate

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// reporter collects the report of one translation.
type reporter struct {
	positions Positions
	target    TargetKind
	parts     map[string]bool // services.web, volumes.data ...: what entries belong to
	dotted    bool            // some of them have dots in their names
	findings  []finding
	seen      map[string]bool // paths with an entry
	lost      map[string]bool // those of them that are dropped
}

// finding is an entry before its place is looked up.
type finding struct {
	path     string
	status   Status
	done, do string
	blocks   bool
}

func newReporter(in Input, target TargetKind) *reporter {
	p := in.Project
	r := &reporter{
		positions: in.Positions, target: target, findings: make([]finding, 0, len(in.Positions)),
		parts: make(map[string]bool, len(p.Services)+len(p.Volumes)), seen: make(map[string]bool, len(in.Positions)), lost: map[string]bool{},
	}
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
	r.put(finding{path: path, status: status, done: done, do: do})
}

// block reports a loss that `up` must not gloss over.
func (r *reporter) block(path string, status Status, done, do string) {
	r.put(finding{path: path, status: status, done: done, do: do, blocks: true})
}

func (r *reporter) put(f finding) {
	r.findings = append(r.findings, f)
	r.seen[f.path] = true
	if f.status == Dropped {
		r.lost[f.path] = true
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
	order := make([]int, len(r.findings)) // findings are large to be moved about
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return r.findings[i].compare(&r.findings[j]) })
	entries := make([]Entry, 0, len(order))
	for n, i := range order {
		f := r.findings[i]
		if n > 0 && f == r.findings[order[n-1]] {
			continue
		}
		entries = append(entries, Entry{
			Path: f.path, Part: r.part(f.path), Position: r.position(f.path), Status: f.status, Done: f.done, Do: f.do, Blocks: f.blocks,
		})
	}
	return entries
}

// compare orders findings by path, the worst first.
func (f *finding) compare(g *finding) int {
	if c := strings.Compare(f.path, g.path); c != 0 {
		return c
	}
	return cmp.Or(g.status.severity()-f.status.severity(), strings.Compare(f.done, g.done), strings.Compare(f.do, g.do))
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
