package translate_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// regression is one row of testdata/regressions.yaml.
type regression struct {
	Name    string            `json:"name"`
	Files   map[string]string `json:"files"`
	Modes   map[string]uint32 `json:"modes"` // of files, 0644 without
	Compose map[string]any    `json:"compose"`
	Want    map[string]any    `json:"want"`
	Report  map[string]string `json:"report"`
	Says    map[string]string `json:"says"`  // part of what the report says of an attribute
	Names   []string          `json:"names"` // "NAME in NETWORK -> SERVICE" with zones, all of them

	Portable struct {
		Want   map[string]any    `json:"want"`
		Report map[string]string `json:"report"`
		Says   map[string]string `json:"says"`
		Names  []string          `json:"names"`
	} `json:"portable"`
}

func regressions(t testing.TB) []regression {
	t.Helper()
	raw, err := os.ReadFile("testdata/regressions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows []regression
	if err := yaml.UnmarshalStrict(raw, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// read makes the project of a row in a fresh folder and reads it.
func (row regression) read(t testing.TB) (translate.Input, error) {
	t.Helper()
	text, err := yaml.Marshal(row.Compose)
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(row.Files)
	if files == nil {
		files = map[string]string{}
	}
	files["compose.yaml"], files["binary"] = string(text), string(bytes.Repeat([]byte{0, 0xff, 0x80}, 100))
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if mode, ok := row.Modes[name]; ok {
			if err := os.Chmod(file, os.FileMode(mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	in, _, err := composefile.Read(t.Context(), composefile.Options{Dir: dir, ProjectName: "demo", Env: []string{"HOME=/home/x"}})
	return in, err
}

// A tally counts what became of a set of projects.
type tally struct{ projects, loaded, crashed, invalid, silent int }

// count translates one project and adds what came of it to the tally.
func (c *tally) count(t *testing.T, in translate.Input, target translate.Target) (r translate.Result, ok bool) {
	t.Helper()
	c.projects++
	defer func() {
		if p := recover(); p != nil {
			c.crashed++
			t.Errorf("it panics: %v", p)
		}
	}()
	r, err := translate.Translate(in, target)
	if err != nil {
		t.Error(err)
		return r, false
	}
	c.loaded++
	if list := faults(r); len(list) > 0 {
		c.invalid++
		t.Errorf("invalid: %q", list)
	}
	if list := unreported(in, r); len(list) > 0 {
		c.silent++
		t.Errorf("not in the report: %q", list)
	}
	return r, true
}

func TestWhatOtherTranslatorsGetWrong(t *testing.T) {
	counts := map[string]*tally{"owned": {}, "portable": {}}
	for _, row := range regressions(t) {
		t.Run(row.Name, func(t *testing.T) {
			in, err := row.read(t)
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{"owned", "portable"} {
				r, ok := counts[kind].count(t, in, targets()[kind])
				if !ok {
					continue
				}
				want, report, says := row.Want, row.Report, row.Says
				if kind == "portable" {
					if row.Portable.Want != nil {
						want = row.Portable.Want
					}
					report, says = merged(report, row.Portable.Report), merged(says, row.Portable.Says)
				}
				checkRow(t, kind, r, want, report)
				checkSays(t, kind, r, says)
			}
			checkNames(t, in, "zones", row.Names)
			checkNames(t, in, "portable", row.Portable.Names)
		})
	}
	for kind, c := range counts {
		t.Logf("%s: %d projects, %d translated, %d crashed, %d invalid, %d with silent losses", kind, c.projects, c.loaded, c.crashed, c.invalid, c.silent)
	}
}

// merged returns the entries of both maps, those of more winning.
func merged(base, more map[string]string) map[string]string {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}

// checkSays compares parts of what the report says, with "BLOCKS" in front
// where an entry blocks.
func checkSays(t *testing.T, kind string, r translate.Result, says map[string]string) {
	t.Helper()
	for path, want := range says {
		full := strings.TrimPrefix("services.web."+path, "services.web./")
		found, all := false, ""
		for _, e := range r.Report {
			if e.Path != full {
				continue
			}
			text := e.Done + " -> " + e.Do
			if e.Blocks {
				text = "BLOCKS " + text
			}
			found = found || strings.Contains(text, want)
			all += "\n" + string(e.Status) + ": " + text
		}
		if !found {
			t.Errorf("%s: no entry of %s says %q:%s", kind, full, want, all)
		}
	}
}

// checkNames compares all names that a project has, where some are expected.
func checkNames(t *testing.T, in translate.Input, kind string, want []string) {
	t.Helper()
	if want == nil {
		return
	}
	var got []string
	for _, n := range mustTranslate(t, in, targets()[kind]).Names {
		got = append(got, nameText(n))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: names\n%s\nwant\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Commands and hosts that neither Linux nor an object of Kubernetes takes are
// left out, and say so.
func TestLargeCommandsAreLeftOut(t *testing.T) {
	word := strings.Repeat("x", 130<<10)
	var hosts []any
	for i := range 40000 {
		hosts = append(hosts, fmt.Sprintf("host-%d:10.0.%d.%d", i, i/250, i%250))
	}
	row := regression{Compose: map[string]any{"services": map[string]any{"web": map[string]any{
		"image": "i", "command": []any{"run", word}, "healthcheck": map[string]any{"test": []any{"CMD", word}},
		"post_start": []any{map[string]any{"command": []any{word}}}, "extra_hosts": hosts,
	}}}}
	in, err := row.read(t)
	if err != nil {
		t.Fatal(err)
	}
	for kind, target := range targets() {
		r := mustTranslate(t, in, target)
		want := map[string]any{"container.args": "absent", "container.readinessProbe": "absent", "container.lifecycle": "absent", "pod.hostAliases.1": "any"}
		checkRow(t, kind, r, want, map[string]string{"command": "dropped", "healthcheck.test": "dropped", "post_start": "dropped", "extra_hosts": "dropped"})
		checkSays(t, kind, r, map[string]string{"command": "BLOCKS left out"})
	}
}

// What is too large for an object of Kubernetes is left out, and says so.
func TestLargeTextsAreLeftOut(t *testing.T) {
	large, variable := strings.Repeat("x", 90<<10), strings.Repeat("y", 130<<10)
	labels := map[string]any{"a": large, "b": large, "odd key": large}
	environment := map[string]any{"TOO_LARGE": variable}
	for i := range 10 {
		environment[fmt.Sprintf("V%d", i)] = large
	}
	row := regression{Compose: map[string]any{
		"services": map[string]any{"web": map[string]any{
			"image": "i", "labels": labels, "annotations": labels, "environment": environment,
			"deploy": map[string]any{"labels": labels}, "volumes": []any{"data:/d"}, "configs": []any{"c"},
		}},
		"volumes": map[string]any{"data": map[string]any{"labels": labels}},
		"configs": map[string]any{"c": map[string]any{"content": "x", "labels": labels}},
	}}
	in, err := row.read(t)
	if err != nil {
		t.Fatal(err)
	}
	for kind, target := range targets() {
		r := mustTranslate(t, in, target)
		checkRow(t, kind, r, map[string]any{"container.env.6": "any", "container.env.7": "absent"}, map[string]string{
			"environment.TOO_LARGE": "dropped", "environment.V9": "dropped", "labels": "dropped", "annotations": "dropped", "deploy.labels": "dropped",
			"/volumes.data.labels": "dropped", "/configs.c.labels": "dropped",
		})
		checkSays(t, kind, r, map[string]string{"environment.TOO_LARGE": "BLOCKS left out"})
	}
}
