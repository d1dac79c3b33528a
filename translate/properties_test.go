package translate_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// goldenInputs reads every golden case.
func goldenInputs(t testing.TB) map[string]translate.Input {
	t.Helper()
	cases, err := filepath.Glob("testdata/golden/*/compose.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	inputs := map[string]translate.Input{}
	for _, c := range cases {
		in, _ := goldenInput(t, filepath.Dir(c))
		inputs[filepath.Base(filepath.Dir(c))] = in
	}
	return inputs
}

// goldenTexts are the compose files of the golden cases.
func goldenTexts(t testing.TB) [][]byte {
	t.Helper()
	cases, err := filepath.Glob("testdata/golden/*/compose.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var texts [][]byte
	for _, c := range cases {
		text, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

func mustTranslate(t testing.TB, in translate.Input, target translate.Target) translate.Result {
	t.Helper()
	r, err := translate.Translate(in, target)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// digest is a hash of everything in a result.
func digest(t testing.TB, r translate.Result) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(manifests(t, r)+reportText(r))))
}

func TestFiftyRunsGiveTheSameBytes(t *testing.T) {
	for name, in := range goldenInputs(t) {
		for kind, target := range targets() {
			want := digest(t, mustTranslate(t, in, target))
			for range 50 {
				if digest(t, mustTranslate(t, in, target)) != want {
					t.Errorf("%s/%s: two runs differ", name, kind)
					break
				}
			}
		}
	}
}

func TestInputIsNeverChanged(t *testing.T) {
	for name, in := range goldenInputs(t) {
		before := dump(t, in)
		for _, target := range targets() {
			mustTranslate(t, in, target)
		}
		if dump(t, in) != before {
			t.Errorf("%s: Translate changed its input", name)
		}
	}
}

func dump(t testing.TB, in translate.Input) string {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReportIsSortedAndEveryEntrySaysSomething(t *testing.T) {
	for name, in := range goldenInputs(t) {
		for _, target := range targets() {
			r := mustTranslate(t, in, target)
			if !slices.IsSortedFunc(r.Report, func(a, b translate.Entry) int { return strings.Compare(a.Path, b.Path) }) {
				t.Errorf("%s: the report is not sorted by path", name)
			}
			for _, e := range r.Report {
				if e.Done == "" || e.Path == "" || e.Status == "" {
					t.Errorf("%s: %+v says nothing", name, e)
				}
				if e.Position.File == "" || e.Position.Line == 0 {
					t.Errorf("%s: %s has no position", name, e.Path)
				}
			}
		}
	}
}

func TestEverythingThatIsWrittenIsInTheReport(t *testing.T) {
	for name, in := range corpus(t) {
		for kind, target := range targets() {
			r := mustTranslate(t, in, target)
			reported := map[string]bool{}
			for _, e := range r.Report {
				reported[e.Path] = true
			}
			for path := range in.Positions {
				if !speaksOf(reported, path, in) {
					t.Errorf("%s/%s: %s is in no entry of the report", name, kind, path)
				}
			}
		}
	}
}

// speaksOf reports whether the report has an entry for a path of the files, or
// for something above or below it.
func speaksOf(reported map[string]bool, path string, in translate.Input) bool {
	if strings.Contains("."+path, ".x-") {
		return true // not ours
	}
	switch parts := strings.Split(path, "."); {
	case len(parts) == 1 && parts[0] != "name": // a table
		return true
	case len(parts) > 1 && slices.Contains(in.LeftOut, parts[1]):
		return true
	}
	for p := path; p != ""; {
		if reported[p] {
			return true
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	for r := range reported {
		if strings.HasPrefix(r, path+".") || strings.HasPrefix(r, path+"[") {
			return true
		}
	}
	return false
}

// A project that is written out whole and read again gives the same objects.
func TestReadingTheCanonicalFormChangesNothing(t *testing.T) {
	for name, in := range goldenInputs(t) {
		if name == "configs-secrets" || name == "jobs" {
			continue // compose-go writes no content of secrets, and names of jobs that it does not read
		}
		text, err := in.Project.MarshalYAML()
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := composefile.Read(t.Context(), composefile.Options{
			Dir: in.Project.WorkingDir, Files: []string{"-"}, ProjectName: "demo", Stdin: strings.NewReader(strings.ReplaceAll(string(text), "$", "$$")),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again.Images = in.Images
		want, got := manifests(t, mustTranslate(t, in, targets()["owned"])), manifests(t, mustTranslate(t, again, targets()["owned"]))
		if want != got {
			t.Errorf("%s: %s", name, firstDifference(want, got))
		}
	}
}
