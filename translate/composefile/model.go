package composefile

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// A scope is a group of compose files that are merged into one model: those of
// the command line, or those of one entry of include. It has a directory and
// variables of its own.
type scope struct {
	dir   directory
	env   map[string]string
	chain []string            // files that lead here through include
	bases map[string]*extfile // files that services extend, by absolute path
}

// A file is one compose file of a scope.
type file struct {
	path string             // absolute, or stdin
	from translate.Position // where it is named
	docs []document         // when it has been parsed before
}

// sections are the top-level attributes that an include brings.
var sections = []string{"services", "jobs", "volumes", "networks", "secrets", "configs", "models"}

// model reads the files of a scope and merges them, in order, into one tree in
// which all short forms are written out and all paths are absolute.
func (r *reader) model(s *scope, files []file) *node {
	model := mapNode(translate.Position{})
	for _, f := range files {
		docs := f.docs
		if docs == nil {
			docs = r.parse(f.path, f.from)
		}
		for _, doc := range docs {
			r.addDocument(s, f, doc, model)
			if r.ctx.Err() != nil {
				return model
			}
		}
	}
	complete(model, composeRules())
	s.dir.resolve(model, composeRules())
	resolveEnvironment(model, s.env)
	return model
}

// addDocument merges one document into the model of its scope.
func (r *reader) addDocument(s *scope, f file, doc document, model *node) {
	root := doc.root
	if r.tooMany(root.field("services")) {
		return
	}
	r.interpolate(root, s.env)
	r.promoteAliases(root)
	if root.field("version") != nil {
		delete(root.fields, "version")
	}
	known := len(r.errs)
	r.validate(root, false)
	if len(r.errs) > known {
		// What has the wrong type cannot be merged. The other files are still
		// checked, each by itself.
		return
	}
	r.include(s, f, root, doc.resets)
	applyResets(model, doc.resets)
	r.extendServices(s, f, doc)
	if r.tooMany(root.field("services")) { // with those of includes
		return
	}
	m := merger{r}
	m.mappings(model, root, composeRules(), nil)
	unique(model, composeRules())
	c := canon{r}
	c.canonical(model, composeRules(), nil)
	unique(model, composeRules())
}

// tooMany refuses a project that has more services than a cluster can hold.
func (r *reader) tooMany(services *node) bool {
	if services == nil || len(services.fields) <= maxServices {
		return false
	}
	r.fail(services.pos, "services", fmt.Errorf("the project has %d services, and may have %d", len(services.fields), maxServices), "split it into several projects")
	return true
}

// validate checks a tree against the compose schema.
func (r *reader) validate(root *node, whole bool) {
	s, err := composeSchema()
	if err != nil {
		r.fail(translate.Position{}, "compose schema", err, "")
		return
	}
	r.failures(validation{complete: whole}.check(root, s, nil))
}

// promoteAliases renames extensions that have become attributes.
func (r *reader) promoteAliases(root *node) {
	services := root.field("services")
	if services == nil {
		return
	}
	for _, service := range services.fields {
		rename(service, "x-develop", "develop")
		watch := service.field("develop").field("watch")
		if watch == nil {
			continue
		}
		for _, w := range watch.items {
			if old := w.field("x-initialSync"); old != nil {
				r.warn(old.pos, "x-initialSync is DEPRECATED, please use the official `initial_sync` attribute") // docker compose's words
				rename(w, "x-initialSync", "initial_sync")
			}
		}
	}
}

// rename moves a key to another name unless that is set.
func rename(n *node, from, to string) {
	value := n.field(from)
	if value == nil {
		return
	}
	delete(n.fields, from)
	if have := n.field(to); have == nil || have.kind == nullKind {
		n.fields[to] = value
	}
}

// resolveEnvironment gives variables that are named without a value the value
// they have in the scope, and secrets and configs that come from a variable
// its content.
func resolveEnvironment(model *node, env map[string]string) {
	for _, section := range []string{"services", "jobs"} {
		workloads := model.field(section)
		if workloads == nil {
			continue
		}
		for _, w := range workloads.fields {
			variables := w.field("environment")
			if variables == nil {
				continue
			}
			for _, item := range variables.items {
				if value, ok := env[item.text()]; ok && item.isText() {
					item.value = item.text() + "=" + value
				}
			}
		}
	}
	for section, attribute := range map[string]string{"secrets": secretContent, "configs": "content"} {
		objects := model.field(section)
		if objects == nil {
			continue
		}
		for _, o := range objects.fields {
			variable := o.field("environment")
			value, ok := env[variable.text()]
			if variable.isText() && ok && o.field(attribute) == nil {
				content := textNode(value, variable.pos)
				content.derived = true
				o.fields[attribute] = content
			}
		}
	}
}

// remote refuses compose files that are not on this machine.
func remote(path string) error {
	if strings.Contains(path, "://") || strings.HasPrefix(path, "git@") || strings.HasPrefix(path, "oci:") {
		return fmt.Errorf("%q is remote, and berth reads files of this machine only", path)
	}
	return nil
}
