package translate

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// reportAttributes adds an entry for every attribute that the project sets and
// no rule spoke of: first what the typed project holds, then what only the
// files show (used up by the loader, or set to its zero value).
func (t *translator) reportAttributes() {
	p := t.project
	w := &walker{t: t, trees: newKeyTrees(), entities: make(map[string]*keyTree, len(t.units)+len(p.Volumes)), types: map[typedNode][]typedField{}, room: make([]byte, 0, 256)}
	w.note(w.trees.top.child("name"), []byte("name"))
	for _, u := range t.units {
		if u.job == nil {
			w.entity(u.path, reflect.ValueOf(u.svc).Elem(), w.trees.service)
		} else {
			w.entity(u.path, reflect.ValueOf(u.job).Elem(), w.trees.job)
		}
		for i := range u.svc.PreStart {
			w.entity(itemPath(u.path, "pre_start", i), reflect.ValueOf(&u.svc.PreStart[i]).Elem(), w.trees.hook)
		}
	}
	used := t.usage()
	walkMap(w, "networks", p.Networks, used.has("networks"), w.trees.network)
	walkMap(w, "volumes", p.Volumes, used.has("volumes"), w.trees.volume)
	walkMap(w, "secrets", p.Secrets, used.has("secrets"), w.trees.secret)
	walkMap(w, "configs", p.Configs, used.has("configs"), w.trees.config)
	walkMap(w, "models", p.Models, used.has("models"), w.trees.model)
	for path := range t.in.Positions {
		w.positioned(path)
	}
	for _, name := range t.in.LeftOut {
		t.report.exact("services."+name, "left out: none of its profiles is active")
	}
}

// walkMap walks one table of named things.
func walkMap[V any](w *walker, table string, entries map[string]V, used func(string) bool, tree *keyTree) {
	for name, v := range entries {
		path := table + "." + name
		if !used(name) {
			w.entities[path] = nil
			if w.isWritten(path) {
				w.t.report.exact(path, "nothing uses it, so nothing is made of it")
			}
			continue
		}
		w.whole(table, name, path)
		w.entity(path, reflect.ValueOf(v), tree)
	}
}

// whole says what a network or volume is as such, for the file may say no more
// of it than its name.
func (w *walker) whole(table, name, path string) {
	if w.t.report.seen[path] || !w.isWritten(path) {
		return
	}
	switch {
	case table == "volumes" && !bool(w.t.project.Volumes[name].External) && localDriver(w.t.project.Volumes[name]).kind == "":
		w.t.report.exact(path, fmt.Sprintf("the claim %q", w.t.claimOf(name)))
	case table == "networks" && w.t.isolatedNetworks:
		w.t.report.exact(path, "a label of its members' pods, and a NetworkPolicy")
	case table == "networks":
		w.t.report.exact(path, "all pods of the project reach each other")
	}
}

// walker walks the typed project along the table of keys. The paths it walks
// share their bytes: each is good until the next one beside it.
type walker struct {
	t        *translator
	trees    keyTrees
	base     string              // path of the thing being walked
	inEntry  bool                // in an entry that has a verdict of its own: ports[0]
	entities map[string]*keyTree // the tables of all things by path, nil of those that nothing uses
	types    map[typedNode][]typedField
	room     []byte // for paths
}

// entity walks one service, network, volume ...
func (w *walker) entity(path string, v reflect.Value, tree *keyTree) {
	w.base, w.entities[path] = path, tree
	w.fields(append(w.room, path...), v, tree)
}

// below is the path of a key of what is at path.
func below(path []byte, key string) []byte { return append(append(path, '.'), key...) }

// fields walks the fields of a struct.
func (w *walker) fields(path []byte, v reflect.Value, tree *keyTree) {
	for _, field := range w.fieldsOf(typedNode{v.Type(), tree}) {
		value := v.Field(field.index)
		if field.name == "" {
			w.fields(path, value, tree)
		} else if !unset(value) {
			w.value(below(path, field.name), value, field.node)
		}
	}
}

// typedNode is a struct of the typed project and what the table says of it.
type typedNode struct {
	reflect.Type
	tree *keyTree
}

// typedField is a field of such a struct: its compose key, "" for a struct
// whose fields stand in place of it, and what the table says of it.
type typedField struct {
	index int
	name  string
	node  *keyTree
}

// fieldsOf lists the fields of a type that have a key in the table.
func (w *walker) fieldsOf(t typedNode) []typedField {
	if known, ok := w.types[t]; ok {
		return known
	}
	var out []typedField
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			out = append(out, typedField{index: i})
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if name == "" || name == "-" || strings.HasPrefix(name, "#") || !field.IsExported() {
			continue
		}
		if node := t.tree.child(name); node != nil {
			out = append(out, typedField{i, name, node})
		}
	}
	w.types[t] = out
	return out
}

// value reports one attribute and walks below it.
func (w *walker) value(path []byte, v reflect.Value, node *keyTree) {
	if unset(v) {
		return
	}
	if node.key != nil {
		w.note(node, path)
		if !node.key.deep {
			return
		}
		if !node.key.silent {
			defer func(before bool) { w.inEntry = before }(w.inEntry)
			w.inEntry = true
		}
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		w.fields(path, v, node)
	case reflect.Map:
		name, entry := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		for i := v.MapRange(); i.Next(); {
			name.SetIterKey(i)
			if child := node.child(name.String()); child != nil {
				entry.SetIterValue(i)
				w.entry(below(path, name.String()), entry, child)
			}
		}
	case reflect.Slice:
		child := node.children["*"]
		for i := 0; child != nil && i < v.Len(); i++ {
			item := append(strconv.AppendInt(append(path, '['), int64(i), 10), ']')
			w.entry(item, v.Index(i), child)
		}
	}
}

// entry is value for an entry of a list or mapping, which is set even when its
// value is empty (networks: {front: }).
func (w *walker) entry(path []byte, v reflect.Value, node *keyTree) {
	if unset(v) {
		w.note(node, path)
		return
	}
	w.value(path, v, node)
}

// unset reports whether a value is the one of an attribute that is not there.
func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.Bool: // create_host_path is true unless it is set
		if v.Type() == reflect.TypeFor[types.OptOut]() {
			return v.Bool()
		}
	}
	return v.IsZero()
}

// note adds the table's entry for path, which the user wrote, unless a rule has
// spoken.
func (w *walker) note(node *keyTree, path []byte) {
	k := node.key
	if k == nil || k.silent || w.told(path) || !w.isSet(path) {
		return
	}
	v := k.verdict(w.t.target.Kind)
	w.t.report.add(string(path), v.status, v.done, v.do)
}

// told reports whether the report speaks of path already: of itself, or of the
// loss of the whole attribute that it belongs to.
func (w *walker) told(path []byte) bool {
	r := w.t.report
	if r.seen[string(path)] {
		return true
	}
	for p := parentPath(path); len(p) > len(w.base); p = parentPath(p) {
		if r.lost[string(p)] {
			return true
		}
	}
	return false
}

// isSet reports whether the user wrote the attribute and not the loader: as
// such, or in the short form of what it is part of. Details of an entry that
// has a verdict of its own count in the long form only.
func (w *walker) isSet(path []byte) bool {
	if w.inEntry || w.base == "" {
		return w.isWritten(string(path))
	}
	positions := w.t.in.Positions
	if len(positions) == 0 {
		return true
	}
	for p := path; len(p) > len(w.base); p = parentPath(p) {
		if _, ok := positions[string(p)]; ok {
			return true
		}
	}
	return false
}

// isWritten reports whether an attribute stands in the files as such. Where no
// positions are known, everything counts.
func (w *walker) isWritten(path string) bool {
	_, ok := w.t.in.Positions[path]
	return ok || len(w.t.in.Positions) == 0
}

// positioned looks at one path of the files that the typed project may not
// show any more.
func (w *walker) positioned(path string) {
	r := w.t.report
	if parent := parentPath(path); r.seen[path] || r.seen[parent] && !r.parts[parent] && !strings.HasSuffix(parent, "]") {
		return // covered, as most of them are; what ends in a bracket may be a hook
	}
	base, tree := w.entityOf(path)
	if tree == nil || r.covered(path, len(base)) {
		return
	}
	at, node := base, tree
	rest := path[len(base):]
	for rest != "" {
		end := 1 + strings.IndexAny(rest[1:], ".[")
		if end == 0 {
			end = len(rest)
		}
		segment := strings.TrimPrefix(rest[:end], ".")
		if segment[0] == '[' {
			segment = "*"
		}
		rest = rest[end:]
		at = path[:len(path)-len(rest)]
		next := node.child(segment)
		if next == nil {
			if !strings.HasPrefix(segment, "x-") && (node.key == nil || node.key.deep) {
				w.t.report.dropped(at, "not known to this berth", "")
			}
			return
		}
		node = next
		if node.key != nil && !node.key.deep {
			break
		}
	}
	if node.key == nil || node.key.silent || w.t.report.covered(at, len(base)) {
		return
	}
	v := node.key.verdict(w.t.target.Kind)
	if !node.key.loaded && !node.key.zero {
		v = ok("the default")
	}
	w.t.report.add(at, v.status, v.done, v.do)
}

// entityOf finds the named thing that a path is about, and its table; no table
// when there is nothing to say of it.
func (w *walker) entityOf(path string) (string, *keyTree) {
	table, _, _ := strings.Cut(path, ".")
	switch table {
	case "services", "jobs", "networks", "volumes", "secrets", "configs", "models":
	default:
		return "", w.trees.top
	}
	for base := path; base != ""; base = parentPath(base) { // names may hold dots, and the longest is meant
		tree, known := w.entities[base]
		switch {
		case !known, base == path && tree == w.trees.hook: // which is an entry of its service too
		case base == path:
			return "", nil
		default:
			return base, tree
		}
	}
	return "", nil
}
