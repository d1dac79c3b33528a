package composefile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// An extfile is a file that services extend.
type extfile struct {
	file   file
	docs   []document
	root   *node // all documents merged
	resets [][]string
}

// extendServices puts under every service of a document the one it extends.
func (r *reader) extendServices(s *scope, f file, doc document) {
	for _, section := range []string{"services", "jobs"} {
		workloads := doc.root.field(section)
		if workloads == nil {
			continue
		}
		x := extender{reader: r, scope: s, file: f, resets: doc.resets, services: workloads, section: section}
		for _, name := range workloads.keys() {
			x.extend(name, nil)
		}
	}
}

// An extender resolves the extends of the services of one file.
type extender struct {
	*reader
	scope    *scope
	file     file
	section  string
	services *node
	resets   [][]string
}

// extend resolves one service in place. trail is how it was reached.
func (x *extender) extend(name string, trail []string) *node {
	service := x.services.field(name)
	extends := service.field("extends")
	if extends == nil {
		return service
	}
	p := (*attribute)(nil).field(x.section).field(name).field("extends")
	here := name + " (" + x.opts.display(x.file.path) + ")"
	if i := slices.Index(trail, here); i >= 0 {
		x.failAt(extends, p, fmt.Errorf("services extend each other: %s", strings.Join(append(trail[i:], here), " -> ")), "remove one of these extends")
		return nil
	}
	trail = append(slices.Clone(trail), here)
	base := x.base(extends, p, trail)
	delete(service.fields, "extends")
	if base == nil {
		return service
	}
	// The base is shared; this service gets a copy without what its file resets.
	x.nodes += base.size()
	if x.nodes > maxNodes {
		x.failAt(extends, p, fmt.Errorf("the project has more than %d values", maxNodes), "")
		return service
	}
	wrapped := mapNode(base.pos)
	wrapped.fields["services"] = mapNode(base.pos)
	wrapped.fields["services"].fields[name] = base.clone()
	applyResets(wrapped, x.resets)
	copied := wrapped.fields["services"].fields[name]
	if copied == nil {
		return service
	}
	m := merger{x.reader}
	merged := m.merge(copied, service, composeRules().child("services").child(name), (*attribute)(nil).field(x.section).field(name))
	x.services.fields[name] = merged
	return merged
}

// base finds the service that an extends names, with its own extends resolved.
func (x *extender) base(extends *node, p *attribute, trail []string) *node {
	ref := extends.field("service").text()
	if extends.isText() {
		ref = extends.text()
	}
	if ref == "" {
		x.failAt(extends, p, errors.New("it must name a service"), "write extends: {service: NAME}")
		return nil
	}
	from := x
	if name := extends.field("file").text(); name != "" {
		if from = x.open(name, extends, p); from == nil {
			return nil
		}
	}
	if from.services.field(ref) == nil {
		cure := "check the name"
		if meant := translate.Nearest(ref, from.services.keys()); meant != "" {
			cure = fmt.Sprintf("did you mean %q?", meant)
		}
		x.failAt(extends, p, fmt.Errorf("%s has no service %q", x.opts.display(from.file.path), ref), cure)
		return nil
	}
	return from.extend(ref, trail)
}

// open reads a file that a service extends, with paths made absolute and short
// forms written out, as they are when compose merges them.
func (x *extender) open(name string, extends *node, p *attribute) *extender {
	if err := remote(name); err != nil {
		x.failAt(extends, p, err, "copy it here")
		return nil
	}
	absolute := x.scope.dir.abs(name)
	e := x.scope.bases[absolute]
	if e == nil {
		e = x.load(absolute, extends.field("file").pos)
		x.scope.bases[absolute] = e
	}
	services := e.root.field("services")
	if services == nil {
		if len(e.docs) > 0 {
			x.failAt(extends, p, fmt.Errorf("%s has no services", x.opts.display(absolute)), "")
		}
		return nil
	}
	return &extender{reader: x.reader, scope: x.scope, file: e.file, section: "services", services: services, resets: e.resets}
}

// load reads a file for its services. Only those that are extended are checked,
// when everything is merged.
func (x *extender) load(absolute string, from translate.Position) *extfile {
	e := &extfile{file: file{path: absolute, from: from}, root: mapNode(from)}
	e.docs = x.parse(absolute, from)
	for _, doc := range e.docs {
		x.interpolate(doc.root, x.scope.env)
		x.promoteAliases(doc.root)
		applyResets(e.root, doc.resets)
		e.resets = append(e.resets, doc.resets...)
		m := merger{x.reader}
		m.mappings(e.root, doc.root, composeRules(), nil)
	}
	unique(e.root, composeRules())
	c := canon{x.reader}
	c.canonical(e.root, composeRules(), nil)
	base := directory{path: filepath.Dir(absolute), home: x.home}
	base.resolve(e.root, composeRules())
	if services := e.root.field("services"); services != nil {
		for _, service := range services.fields {
			if f := service.field("extends").field("file"); f.isText() && remote(f.text()) == nil {
				f.value = base.abs(f.text())
			}
		}
	}
	return e
}
