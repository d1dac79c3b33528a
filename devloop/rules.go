package devloop

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/moby/patternmatcher/ignorefile"

	"github.com/berth-dev/berth/devloop/watch"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// The actions of develop.watch.
const (
	actionSync        = "sync"
	actionRebuild     = "rebuild"
	actionRestart     = "restart"
	actionSyncRestart = "sync+restart"
	actionSyncExec    = "sync+exec"
)

// A rule says what a change below a path asks of a service.
type rule struct {
	service string
	action  string
	why     string // where the rule comes from: develop.watch[0], build context
	path    string // absolute
	target  string // in the container, of the sync actions
	exec    *model.ExecSpec
	initial bool // sync what is there at the beginning
	ignore  []*watch.Matcher
	include *watch.Matcher // nil: everything
}

// covers reports whether a change of the absolute path name is for r.
func (r rule) covers(name string) bool {
	if !inside(r.path, name) {
		return false
	}
	if name == r.path {
		return true
	}
	if r.include != nil && !r.include.Match(name) {
		return false
	}
	return !slices.ContainsFunc(r.ignore, func(m *watch.Matcher) bool { return m.Match(name) })
}

// inside reports whether name is dir or below it, by path elements.
func inside(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// inContainer is where the file called name belongs in the container. A rule
// whose path is a file names the target itself, or with a slash at its end the
// target's directory.
func (r rule) inContainer(name string) string {
	rel, err := filepath.Rel(r.path, name)
	if err != nil || rel == "." {
		if strings.HasSuffix(r.target, "/") && !isDir(name) {
			return path.Join(r.target, filepath.Base(name))
		}
		return path.Clean(r.target)
	}
	return path.Join(r.target, filepath.ToSlash(rel))
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// A watchSet is everything a project asks to be watched.
type watchSet struct {
	rules    []rule
	applied  []rule          // directories whose content is part of the project's objects
	project  map[string]bool // files that define the project itself
	warnings []string
}

// newWatchSet derives the rules of the selected services; syncs says whether
// files can be written into the copies of their bind mounts. It reads
// .dockerignore files.
func newWatchSet(want Want, syncs bool) (watchSet, error) {
	ws := watchSet{project: map[string]bool{}}
	for _, f := range want.Input.Files {
		ws.project[f] = true
	}
	for name, facts := range want.Input.Paths {
		if facts.Content != nil || !facts.Exists {
			ws.project[name] = true
		}
	}
	b := ruleBuilder{set: &ws, want: want, dockerignore: map[string][]string{}}
	for _, s := range want.Result.Services {
		if !want.Select[s.Name] {
			continue
		}
		if err := b.service(s.Name); err != nil {
			return ws, err
		}
		if err := b.binds(s, syncs); err != nil {
			return ws, err
		}
	}
	sort.Strings(ws.warnings)
	return ws, nil
}

// withFiles returns a set that has files as part of the project too, and whether
// any of them is new to it.
func (ws watchSet) withFiles(files []string) (watchSet, bool) {
	project := maps.Clone(ws.project)
	for _, f := range files {
		project[f] = true
	}
	more := len(project) > len(ws.project)
	ws.project = project
	return ws, more
}

// redefines reports whether a change of the file called name changes the
// project's objects.
func (ws watchSet) redefines(name string) bool {
	return ws.project[name] || slices.ContainsFunc(ws.applied, func(r rule) bool { return r.covers(name) })
}

// vanished lists the rules whose path itself is removed by a batch.
func (ws watchSet) vanished(b watch.Batch) []rule {
	var gone []rule
	for _, c := range b.Changes {
		if c.Op != model.FileRemoved {
			continue
		}
		for _, r := range ws.rules {
			if r.path == c.Path {
				gone = append(gone, r)
			}
		}
	}
	return gone
}

// roots lists what to watch.
func (ws watchSet) roots() []watch.Root {
	var roots []watch.Root
	for _, r := range slices.Concat(ws.rules, ws.applied) {
		roots = append(roots, watch.Root{Path: r.path, Ignore: r.ignore})
	}
	for _, f := range sortedKeys(ws.project) {
		roots = append(roots, watch.Root{Path: f})
	}
	return roots
}

// A ruleBuilder is the state of newWatchSet.
type ruleBuilder struct {
	set          *watchSet
	want         Want
	dockerignore map[string][]string // patterns by file
}

func (b *ruleBuilder) service(name string) error {
	c := b.want.Input.Project.Services[name]
	ignored, err := b.contextIgnores(name)
	if err != nil {
		return err
	}
	if c.Develop == nil || len(c.Develop.Watch) == 0 {
		return b.buildContext(name, ignored)
	}
	for i, t := range c.Develop.Watch {
		r := rule{
			service: name, action: string(t.Action), why: fmt.Sprintf("develop.watch[%d]", i), path: filepath.Clean(t.Path), target: t.Target,
			initial: t.InitialSync,
		}
		if ignored != nil {
			r.ignore = append(r.ignore, ignored)
		}
		at := fmt.Sprintf("services.%s.develop.watch[%d]", name, i)
		for _, patterns := range [][]string{t.Ignore, watch.Editors()} {
			m, err := watch.NewMatcher(r.path, patterns)
			if err != nil {
				return fmt.Errorf("%s.ignore: %w", at, err)
			}
			r.ignore = append(r.ignore, m)
		}
		if len(t.Include) > 0 {
			if r.include, err = watch.NewMatcher(r.path, t.Include); err != nil {
				return fmt.Errorf("%s.include: %w", at, err)
			}
		}
		if len(t.Exec.Command) > 0 {
			r.exec = &model.ExecSpec{Command: t.Exec.Command, User: t.Exec.User, WorkingDir: t.Exec.WorkingDir, Privileged: t.Exec.Privileged}
			for _, key := range sortedKeys(t.Exec.Environment) {
				if value := t.Exec.Environment[key]; value != nil {
					r.exec.Env = append(r.exec.Env, key+"="+*value)
				}
			}
		}
		if b.valid(r, at) {
			b.set.rules = append(b.set.rules, r)
		}
	}
	return nil
}

// binds makes the rules of bind mounts that are copies: what changes is written
// into the copy, or where that is not possible, the copy is made again.
func (b *ruleBuilder) binds(s translate.Service, syncs bool) error {
	for _, bind := range s.Binds {
		if bind.How != translate.BindSnapshot {
			continue
		}
		m, err := watch.NewMatcher(filepath.Clean(bind.Source), watch.Editors())
		if err != nil {
			return err
		}
		r := rule{service: s.Name, action: actionSync, why: "bind mount " + bind.Target, path: filepath.Clean(bind.Source), target: bind.Target, ignore: []*watch.Matcher{m}}
		if syncs && !bind.ReadOnly {
			b.set.rules = append(b.set.rules, r)
		} else {
			b.set.applied = append(b.set.applied, r)
		}
	}
	return nil
}

// valid warns of a rule that says too much and refuses one that cannot work.
func (b *ruleBuilder) valid(r rule, at string) bool {
	warn := func(format string, args ...any) {
		b.set.warnings = append(b.set.warnings, at+": "+fmt.Sprintf(format, args...))
	}
	syncs := r.action == actionSync || r.action == actionSyncRestart || r.action == actionSyncExec
	switch {
	case syncs && !path.IsAbs(r.target):
		warn("target %q is not an absolute path in the container; the rule is left out", r.target)
		return false
	case r.action == actionRebuild && b.want.Input.Project.Services[r.service].Build == nil:
		warn("the service has no build section; the rule is left out")
		return false
	case r.action == actionSyncExec && r.exec == nil:
		warn("exec has no command; the files are only synced")
	case !syncs && r.target != "":
		warn("target is not used by action %s", r.action)
	}
	_, err := os.Lstat(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		warn("path %q is not there now; the rule waits for it", r.path)
	case r.include != nil && !b.includesAny(r):
		warn("include matches no file now")
	}
	return true
}

// includesAny reports whether a file below the rule's path is included.
func (b *ruleBuilder) includesAny(r rule) bool {
	found := errors.New("found")
	err := filepath.WalkDir(r.path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // not readable: the watcher says so
		case d.IsDir() && name != r.path && slices.ContainsFunc(r.ignore, func(m *watch.Matcher) bool { return m.Prunes(name) }):
			return fs.SkipDir
		case !d.IsDir() && r.covers(name):
			return found
		}
		return nil
	})
	return err != nil
}

// buildContext makes the rules of a service that is built and says nothing
// about watching: its build context, its Dockerfile, and other contexts.
func (b *ruleBuilder) buildContext(name string, ignored *watch.Matcher) error {
	build := b.want.Input.Project.Services[name].Build
	if build == nil {
		return nil
	}
	contexts := []string{build.Context}
	for _, key := range sortedKeys(build.AdditionalContexts) {
		contexts = append(contexts, build.AdditionalContexts[key])
	}
	for i, dir := range contexts {
		if !filepath.IsAbs(dir) { // a repository, an image, another service
			continue
		}
		r := rule{service: name, action: actionRebuild, why: "build context", path: filepath.Clean(dir)}
		if i == 0 && ignored != nil {
			r.ignore = append(r.ignore, ignored)
		}
		m, err := watch.NewMatcher(r.path, watch.Editors())
		if err != nil {
			return err
		}
		r.ignore = append(r.ignore, m)
		b.set.rules = append(b.set.rules, r)
	}
	if file := dockerfileOf(build.Context, build.Dockerfile); file != "" && build.DockerfileInline == "" {
		b.set.rules = append(b.set.rules, rule{service: name, action: actionRebuild, why: "Dockerfile", path: file})
	}
	return nil
}

// dockerfileOf returns the absolute path of a Dockerfile, "" when the context
// is not a directory.
func dockerfileOf(context, dockerfile string) string {
	if dockerfile == "" {
		dockerfile = "Dockerfile"
	}
	switch {
	case filepath.IsAbs(dockerfile):
		return filepath.Clean(dockerfile)
	case filepath.IsAbs(context):
		return filepath.Join(context, dockerfile)
	}
	return ""
}

// contextIgnores returns the .dockerignore rules of a service's build context,
// nil when there are none. The file itself belongs to the project: when it
// changes, the rules do.
func (b *ruleBuilder) contextIgnores(name string) (*watch.Matcher, error) {
	build := b.want.Input.Project.Services[name].Build
	if build == nil || !filepath.IsAbs(build.Context) {
		return nil, nil
	}
	files := []string{filepath.Join(build.Context, ".dockerignore")}
	if dockerfile := dockerfileOf(build.Context, build.Dockerfile); dockerfile != "" && build.DockerfileInline == "" {
		files = slices.Insert(files, 0, dockerfile+".dockerignore")
	}
	for _, file := range files {
		b.set.project[file] = true
		patterns, err := b.readIgnores(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := watch.NewMatcher(filepath.Clean(build.Context), patterns)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", file, err)
		}
		return m, nil
	}
	return nil, nil
}

func (b *ruleBuilder) readIgnores(file string) ([]string, error) {
	if patterns, known := b.dockerignore[file]; known {
		return patterns, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	b.dockerignore[file] = patterns
	return patterns, nil
}
