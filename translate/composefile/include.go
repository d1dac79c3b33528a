package composefile

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// An inclusion is one entry of include, resolved.
type inclusion struct {
	files []string
	dir   string
	env   map[string]string
}

// include puts the models of the included projects under a document.
func (r *reader) include(s *scope, f file, root *node, resets [][]string) {
	list := root.field("include")
	delete(root.fields, "include")
	if list == nil || list.kind != listKind {
		return
	}
	for i, item := range list.items {
		p := (*attribute)(nil).field("include").item(i)
		in, ok := r.inclusion(s, item, p)
		if !ok {
			continue
		}
		chain := append(slices.Clone(s.chain), f.path)
		if slices.Contains(chain, in.files[0]) {
			r.failAt(item, p, fmt.Errorf("the files include each other: %s", r.chain(chain, in.files[0])), "remove one of these includes")
			continue
		}
		r.importModel(r.includedModel(in, chain, item), root, resets)
	}
}

// chain draws a circle of files.
func (r *reader) chain(files []string, again string) string {
	var names []string
	for _, f := range files[slices.Index(files, again):] {
		names = append(names, r.opts.display(f))
	}
	return strings.Join(append(names, r.opts.display(again)), " -> ")
}

// inclusion works out the files, directory and variables of one entry.
func (r *reader) inclusion(s *scope, item *node, p *attribute) (inclusion, bool) {
	var in inclusion
	for _, name := range texts(item, "path") {
		if err := remote(name); err != nil {
			r.failAt(item, p, err, "copy it here")
			return in, false
		}
		in.files = append(in.files, s.dir.abs(name))
	}
	if len(in.files) == 0 {
		r.failAt(item, p, fmt.Errorf("it needs a path"), "")
		return in, false
	}
	in.dir = filepath.Dir(in.files[0])
	if given := item.field("project_directory").text(); given != "" {
		in.dir = s.dir.abs(given)
	}
	var envFiles []string
	named := texts(item, "env_file")
	if item.kind != mapKind {
		named = nil
	}
	for _, name := range named {
		if name != "/dev/null" {
			envFiles = append(envFiles, s.dir.abs(name))
		}
	}
	if len(named) == 0 {
		dotEnv := filepath.Join(in.dir, ".env")
		r.files[dotEnv] = true
		if exists(dotEnv) {
			envFiles = []string{dotEnv}
		}
	}
	for _, f := range envFiles {
		r.files[f] = true
	}
	vars, err := readDotEnv(envFiles, s.env, r.opts.display)
	if err != nil {
		r.failAt(item, p, err, "create it, or correct it")
		return in, false
	}
	in.env = maps.Clone(s.env)
	for k, v := range vars {
		if _, set := in.env[k]; !set {
			in.env[k] = v
		}
	}
	return in, true
}

// texts is the text, or the list of texts, of an attribute; a bare text counts
// as the attribute itself.
func texts(n *node, key string) []string {
	if n.kind == mapKind {
		n = n.field(key)
	}
	if n.isText() {
		return []string{n.text()}
	}
	var list []string
	if n != nil {
		for _, item := range n.items {
			list = append(list, item.text())
		}
	}
	return list
}

// includedModel reads an included project, once for each combination of
// files, directory and variables: a file may be reached on many ways.
func (r *reader) includedModel(in inclusion, chain []string, item *node) *node {
	hash := sha256.New()
	for _, part := range slices.Concat(in.files, []string{"", in.dir}) {
		fmt.Fprintf(hash, "%q", part)
	}
	for _, k := range slices.Sorted(maps.Keys(in.env)) {
		fmt.Fprintf(hash, "%q=%q", k, in.env[k])
	}
	key := string(hash.Sum(nil))
	model := r.included[key]
	if model == nil {
		s := &scope{dir: directory{path: in.dir, home: r.home}, env: in.env, chain: chain, bases: map[string]*extfile{}}
		var files []file
		for _, path := range in.files {
			files = append(files, file{path: path, from: item.pos})
		}
		model = r.model(s, files)
		r.included[key] = model
	}
	r.nodes += model.size()
	if r.nodes > maxNodes {
		r.fail(item.pos, "include", fmt.Errorf("the project has more than %d values", maxNodes), "include each file once")
		return mapNode(item.pos)
	}
	return model.clone()
}

// importModel puts the resources of an included model under those of root.
func (r *reader) importModel(from, root *node, resets [][]string) {
	for _, section := range sections {
		resources := from.field(section)
		if resources == nil {
			continue
		}
		own := root.field(section)
		if own == nil || own.kind != mapKind {
			own = mapNode(resources.pos)
			root.fields[section] = own
		}
		for name, resource := range resources.fields {
			mine, conflict := own.fields[name]
			if !conflict {
				own.fields[name] = resource
				continue
			}
			if mine.fingerprint() == resource.fingerprint() {
				continue
			}
			wrapped := mapNode(resource.pos)
			wrapped.fields[section] = mapNode(resource.pos)
			wrapped.fields[section].fields[name] = resource
			applyResets(wrapped, resets)
			if resource = wrapped.fields[section].fields[name]; resource != nil {
				m := merger{r}
				own.fields[name] = m.merge(resource, mine, composeRules().child(section).child(name), (*attribute)(nil).field(section).field(name))
			}
		}
	}
}
