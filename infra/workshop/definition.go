package workshop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/berth-dev/berth/infra/problem"
)

// File is the name of the file that makes a folder a workshop.
const File = "workshop.yaml"

// TextFile is the Markdown of a step, in the step's folder.
const TextFile = "step.md"

// A Workshop is what workshop.yaml says. templates/schema/workshop.schema.json
// describes the file.
type Workshop struct {
	Dir         string `yaml:"-"` // its folder, absolute
	Name        string `yaml:"name"`
	Title       string `yaml:"title"`
	Description string `yaml:"description"`
	Time        Span   `yaml:"time"` // a person takes for all steps
	Cluster     Needs  `yaml:"cluster"`
	// Images are loaded into the nodes before the first step.
	Images []string `yaml:"images"`
	// Builds are images made of the workshop's own folders, and loaded too.
	Builds []Build `yaml:"builds"`
	Steps  []Step  `yaml:"steps"`
}

// A Build is an image that is made before the first step.
type Build struct {
	Image string            `yaml:"image"` // its name, with a tag
	Dir   string            `yaml:"dir"`   // below the workshop's folder, with a Dockerfile
	Args  map[string]string `yaml:"args"`
}

// Needs say what cluster a workshop wants.
type Needs struct {
	Workers *int `yaml:"workers"` // at least; default 2
	Ingress bool `yaml:"ingress"` // an ingress controller of class nginx
}

// MinWorkers is the number of workers that the workshop needs.
func (n Needs) MinWorkers() int {
	if n.Workers == nil {
		return 2
	}
	return *n.Workers
}

// A Step is one step of a workshop.
type Step struct {
	Dir     string `yaml:"dir"` // below the workshop's folder; also what it is called on the command line
	Title   string `yaml:"title"`
	Time    Span   `yaml:"time"`    // a person takes
	Timeout Span   `yaml:"timeout"` // for each of its programs; 0: DefaultTimeout
	Scope   Scope  `yaml:"scope"`
	Reset   Reset  `yaml:"reset"`
}

// A Scope says what a step's programs may touch.
type Scope string

// The scopes. With several learners the steps of cluster scope are the
// instructor's: learners read them.
const (
	ScopeNamespace Scope = "namespace" // the default
	ScopeCluster   Scope = "cluster"
)

// A Reset says how a step goes back to its beginning.
type Reset string

// The ways to reset a step.
const (
	ResetScripts    Reset = "scripts"    // cleanup, then setup; the default
	ResetCheckpoint Reset = "checkpoint" // the whole cluster, from a checkpoint taken when the step began
)

// DefaultTimeout is how long a program of a step may take.
const DefaultTimeout = 2 * time.Minute

// A Span is a time written as in Go: 90s, 10m, 2h.
type Span time.Duration

// UnmarshalYAML reads a Span.
func (s *Span) UnmarshalYAML(node *yaml.Node) error {
	d, err := time.ParseDuration(node.Value)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a time such as 90s, 10m or 2h", node.Value)
	}
	*s = Span(d)
	return nil
}

// Duration is the span as Go has it.
func (s Span) Duration() time.Duration { return time.Duration(s) }

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Read reads the workshop in a folder. Everything that is wrong with
// workshop.yaml is in the error, with its line; the steps' texts and programs
// are Lint's matter.
func Read(dir string) (Workshop, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Workshop{}, err
	}
	path := filepath.Join(dir, File)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Workshop{}, problem.New(fmt.Sprintf("%q is no workshop", dir), fmt.Errorf("it has no %s: %w", File, fs.ErrNotExist),
			"name a workshop's folder, or make one: berth workshop new DIR")
	}
	if err != nil {
		return Workshop{}, err
	}
	w := Workshop{Dir: dir}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&w); err != nil {
		return Workshop{}, problem.New("read "+path, errors.New(yamlFaults(err)), "berth workshop lint "+dir)
	}
	var lines yaml.Node
	if err := yaml.Unmarshal(raw, &lines); err != nil {
		return Workshop{}, err
	}
	if found := w.check(&lines); len(found) > 0 {
		return Workshop{}, problem.New("read "+path, errors.New(strings.Join(found, "\n")), "berth workshop lint "+dir)
	}
	return w, nil
}

// yamlFaults is what the reader of YAML says, a line for each fault.
func yamlFaults(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if _, rest, found := strings.Cut(text, "construct errors:"); found {
		text = rest
	}
	text = strings.ReplaceAll(text, " in type workshop.", " in ")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// check lists what is wrong with the values, as "line N: ...".
func (w *Workshop) check(root *yaml.Node) []string {
	var found []string
	say := func(line int, format string, args ...any) {
		found = append(found, fmt.Sprintf("line %d: ", line)+fmt.Sprintf(format, args...))
	}
	if !validName.MatchString(w.Name) {
		say(lineOf(root, "name"), "name %q: use up to 40 lower-case letters, digits and dashes: it becomes a namespace", w.Name)
	}
	if w.Title == "" {
		say(lineOf(root, "title"), "the title is missing")
	}
	if w.Cluster.MinWorkers() < 0 {
		say(lineOf(root, "cluster"), "cluster.workers is negative")
	}
	for i, b := range w.Builds {
		if !filepath.IsLocal(b.Dir) {
			say(lineOf(root, "builds"), "builds[%d].dir: %q is not a folder of the workshop", i, b.Dir)
		}
		if _, tag, ok := strings.Cut(b.Image, ":"); !ok || tag == "" || tag == "latest" {
			say(lineOf(root, "builds"), "builds[%d].image: %q needs a tag other than latest, or pods would pull it", i, b.Image)
		}
	}
	if len(w.Steps) == 0 {
		say(lineOf(root, "steps"), "there are no steps")
	}
	seen := map[string]bool{}
	for i, s := range w.Steps {
		line := lineOf(root, "steps")
		if node := valueOf(root, "steps"); node != nil && i < len(node.Content) {
			line = node.Content[i].Line
		}
		switch {
		case s.Dir == "" || !filepath.IsLocal(s.Dir) || filepath.Clean(s.Dir) == ".":
			say(line, "steps[%d].dir: %q is not a folder of the workshop", i, s.Dir)
		case seen[s.Dir]:
			say(line, "steps[%d].dir: %q is there twice", i, s.Dir)
		}
		seen[s.Dir] = true
		if s.Title == "" {
			say(line, "steps[%d].title is missing", i)
		}
		if s.Scope != "" && s.Scope != ScopeNamespace && s.Scope != ScopeCluster {
			say(line, "steps[%d].scope: %q is neither %q nor %q", i, s.Scope, ScopeNamespace, ScopeCluster)
		}
		if s.Reset != "" && s.Reset != ResetScripts && s.Reset != ResetCheckpoint {
			say(line, "steps[%d].reset: %q is neither %q nor %q", i, s.Reset, ResetScripts, ResetCheckpoint)
		}
	}
	return found
}

// valueOf finds the value of a key of the top mapping.
func valueOf(root *yaml.Node, key string) *yaml.Node {
	if len(root.Content) == 0 {
		return nil
	}
	top := root.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == key {
			return top.Content[i+1]
		}
	}
	return nil
}

// lineOf is the line of a key's value, 1 where the key is missing.
func lineOf(root *yaml.Node, key string) int {
	if v := valueOf(root, key); v != nil {
		return v.Line
	}
	return 1
}

// A Part is one of the programs of a step.
type Part string

// The programs of a step. All are optional.
const (
	Setup   Part = "setup"   // prepares the step; runs when it begins
	Check   Part = "check"   // exit status 0 when the learner is done; its output says what is missing
	Solve   Part = "solve"   // does what the learner should do
	Cleanup Part = "cleanup" // takes back what setup, solve and the learner did
)

// Parts are all of them.
var Parts = []Part{Setup, Check, Solve, Cleanup}

// Program is the path of a step's program: the file of the part's name, with
// any extension. It is "" when the step has none.
func (w Workshop) Program(s Step, part Part) (string, error) {
	dir := filepath.Join(w.Dir, s.Dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && strings.TrimSuffix(name, filepath.Ext(name)) == string(part) {
			found = append(found, filepath.Join(dir, name))
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("step %s has several programs %s: %s", s.Dir, part, strings.Join(found, ", "))
}

// Text reads the Markdown of a step.
func (w Workshop) Text(s Step) ([]byte, error) {
	return os.ReadFile(filepath.Join(w.Dir, s.Dir, TextFile))
}

// Find returns the index of the step that a number (from 1) or a folder names.
func (w Workshop) Find(name string) (int, error) {
	var dirs []string
	for i, s := range w.Steps {
		if s.Dir == name || fmt.Sprint(i+1) == name {
			return i, nil
		}
		dirs = append(dirs, s.Dir)
	}
	return 0, problem.New(fmt.Sprintf("workshop %q has no step %q", w.Name, name), nil, "its steps: "+strings.Join(dirs, ", "))
}
