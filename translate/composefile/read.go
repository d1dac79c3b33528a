package composefile

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// Read finds, loads and checks a compose project. Errors are of type
// *translate.Error or translate.Errors: as many as could be found at once, each
// with file and line. Input.Files is then what was looked at or for.
func Read(ctx context.Context, o Options) (translate.Input, Source, error) {
	sel, warnings, err := discover(o)
	if err != nil {
		return translate.Input{}, Source{}, err
	}
	r := &reader{
		ctx: ctx, opts: o, home: home(sel.env), warnings: warnings,
		files: map[string]bool{}, included: map[string]*node{}, warned: map[string]bool{},
	}
	for _, f := range slices.Concat(sel.looked, sel.envFiles) {
		r.files[f] = true
	}
	project, err := r.project(sel)
	if err != nil {
		return r.failed(err)
	}
	input := translate.Input{
		Project:   project,
		Positions: r.places,
		LeftOut:   project.DisabledServiceNames(),
	}
	if !o.NamesOnly {
		input.Paths = r.pathFacts(project)
		r.checkContents(project, input.Paths)
	}
	if err := r.err(); err != nil {
		return r.failed(err)
	}
	input.Files = slices.Sorted(maps.Keys(r.files))
	return input, Source{Dir: sel.dir, ComposeFiles: sel.files, Profiles: project.Profiles, Warnings: r.warnings, Named: r.named}, nil
}

// failed returns what is known of a project that cannot be read.
func (r *reader) failed(err error) (translate.Input, Source, error) {
	return translate.Input{Files: slices.Sorted(maps.Keys(r.files))}, Source{}, err
}

// project reads the files, merges them, and makes the typed project of them.
// It stops after each stage that found errors: what a later stage would say
// could be their consequence.
func (r *reader) project(sel selection) (*types.Project, error) {
	files := r.topFiles(sel)
	if err := r.err(); err != nil {
		return nil, err
	}
	inFile := r.nameIn(files, sel.env)
	name, err := projectName(r.opts, sel, inFile)
	if err != nil {
		return nil, err
	}
	r.named = name == normalName(inFile)
	sel.env["COMPOSE_PROJECT_NAME"] = name
	model := r.model(&scope{dir: directory{path: sel.dir, home: r.home}, env: sel.env, bases: map[string]*extfile{}}, files)
	if err := r.err(); err != nil {
		return nil, err
	}
	if len(model.fields) == 0 {
		return nil, &translate.Error{Position: translate.Position{File: r.opts.display(sel.files[0])}, What: "the compose file is empty", Cure: "start with a line `services:`"}
	}
	if r.opts.Without != "" && !leaveOut(model, r.opts.Without) {
		return nil, &translate.Error{What: fmt.Sprintf("the project does not set %q", r.opts.Without), Cure: "berth config shows what it sets"}
	}
	r.validate(model, true)
	r.checkAttributes(model, composeRules(), nil)
	if err := r.err(); err != nil {
		return nil, err
	}
	r.places = positions(model)
	project := r.decode(model, sel, name)
	if err := r.err(); err != nil {
		return nil, err
	}
	r.enableServices(project)
	r.checkConsistency(project)
	if !r.opts.NamesOnly {
		r.resolveFiles(project)
	}
	return project, r.err()
}

// topFiles parses the files of the command line.
func (r *reader) topFiles(sel selection) []file {
	var files []file
	for _, path := range sel.files {
		files = append(files, file{path: path, docs: r.parse(path, translate.Position{})})
	}
	return files
}

// nameIn is the last project name that the files give, interpolated.
func (r *reader) nameIn(files []file, env map[string]string) string {
	name := ""
	for _, f := range files {
		for _, doc := range f.docs {
			if n := doc.root.field("name"); n.text() != "" {
				root := mapNode(n.pos)
				root.fields["name"] = n.clone()
				r.interpolate(root, env)
				name = root.fields["name"].text()
			}
		}
	}
	return name
}
