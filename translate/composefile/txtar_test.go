package composefile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/berth-dev/berth/translate"
)

// A project of testdata is a txtar archive. Its comment says how to read it,
// one "key: value" a line: files, profiles, env-files, services, env, name,
// dir, stdin; everything else is prose.
type archive struct {
	path    string
	archive *txtar.Archive
	dir     string // where it is unpacked
	options Options
}

func archives(t testing.TB, pattern string) []archive {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no archives, %v", pattern, err)
	}
	var all []archive
	for _, path := range paths {
		if path, err = filepath.Abs(path); err != nil {
			t.Fatal(err)
		}
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, archive{path: path, archive: a})
	}
	return all
}

func (a archive) name() string { return strings.TrimSuffix(filepath.Base(a.path), ".txtar") }

// unpack writes the files of the archive to a new directory, except those that
// say what is expected.
func (a *archive) unpack(t *testing.T) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.archive.Files {
		if strings.HasPrefix(f.Name, "want") {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a.dir = dir
	o := Options{Dir: dir}
	for _, line := range strings.Split(string(a.archive.Comment), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "files":
			o.Files = strings.Fields(value)
		case "profiles":
			o.Profiles = strings.Fields(value)
		case "env-files":
			o.EnvFiles = strings.Fields(value)
		case "services":
			o.Services = strings.Fields(value)
		case "env":
			o.Env = strings.Fields(value)
		case "name":
			o.ProjectName = value
		case "dir":
			o.Dir = filepath.Join(dir, value)
		case "project-directory":
			o.ProjectDirectory = value
		case "stdin":
			o.Stdin = strings.NewReader(strings.ReplaceAll(value, `\n`, "\n"))
		}
	}
	a.options = o
}

// want returns the named file of the archive.
func (a *archive) want(name string) string {
	for _, f := range a.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// compare checks a text against the named file, or with UPDATE set rewrites it.
func (a *archive) compare(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, a.dir, "DIR")
	if os.Getenv("UPDATE") != "" {
		i := slices.IndexFunc(a.archive.Files, func(f txtar.File) bool { return f.Name == name })
		if i < 0 {
			a.archive.Files = append(a.archive.Files, txtar.File{Name: name})
			i = len(a.archive.Files) - 1
		}
		a.archive.Files[i].Data = []byte(got)
		if err := os.WriteFile(a.path, txtar.Format(a.archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := a.want(name); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestErrors(t *testing.T) {
	for _, a := range archives(t, "testdata/errors/*.txtar") {
		t.Run(a.name(), func(t *testing.T) {
			a.unpack(t)
			_, _, err := Read(t.Context(), a.options)
			if err == nil {
				t.Fatal("no error")
			}
			a.compare(t, "want", describeErrors(t, err))
		})
	}
}

// describeErrors lists errors and their cures.
func describeErrors(t *testing.T, err error) string {
	t.Helper()
	var list translate.Errors
	var one *translate.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = translate.Errors{one}
	default:
		t.Fatalf("a %T: %v", err, err)
	}
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintln(&b, e)
		if e.Cure != "" {
			fmt.Fprintln(&b, "  try:", e.Cure)
		}
	}
	return b.String()
}

func TestProjects(t *testing.T) {
	for _, a := range archives(t, "testdata/projects/*.txtar") {
		t.Run(a.name(), func(t *testing.T) {
			a.unpack(t)
			a.options.Env = append(a.options.Env, "HOME="+filepath.Join(a.options.Dir, "home"))
			t.Setenv("HOME", filepath.Join(a.options.Dir, "home"))
			input, source, err := Read(t.Context(), a.options)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(a.options.Dir)
			theirs, err := composeGo(t.Context(), a.options)
			if err != nil {
				t.Fatalf("compose-go: %v", err)
			}
			compareProjects(t, input.Project, theirs)
			var b strings.Builder
			for _, path := range slices.Sorted(maps.Keys(input.Positions)) {
				p := input.Positions[path]
				fmt.Fprintf(&b, "%s:%d %s\n", p.File, p.Line, path)
			}
			for _, w := range source.Warnings {
				fmt.Fprintf(&b, "warning: %s\n", w)
			}
			a.compare(t, "want", b.String())
		})
	}
}
