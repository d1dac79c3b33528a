package translate_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// regression is one row of testdata/regressions.yaml.
type regression struct {
	Name    string            `json:"name"`
	Files   map[string]string `json:"files"`
	Compose map[string]any    `json:"compose"`
	Want    map[string]any    `json:"want"`
	Report  map[string]string `json:"report"`

	Portable struct {
		Want map[string]any `json:"want"`
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
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
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
				want := row.Want
				if kind == "portable" && row.Portable.Want != nil {
					want = row.Portable.Want
				}
				checkRow(t, kind, r, want, row.Report)
			}
		})
	}
	for kind, c := range counts {
		t.Logf("%s: %d projects, %d translated, %d crashed, %d invalid, %d with silent losses", kind, c.projects, c.loaded, c.crashed, c.invalid, c.silent)
	}
}
