package translate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

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
			for _, path := range unreported(in, mustTranslate(t, in, target)) {
				t.Errorf("%s/%s: %s is in no entry of the report", name, kind, path)
			}
		}
	}
}

// unreported lists the attributes of a project that no entry of the report
// speaks of.
func unreported(in translate.Input, r translate.Result) []string {
	reported := map[string]bool{}
	for _, e := range r.Report {
		reported[e.Path] = true
	}
	var out []string
	for path := range in.Positions {
		if !speaksOf(reported, path, in) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
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
	inputs := goldenInputs(t)
	for name, in := range corpus(t) {
		inputs[name] = in
	}
	for name, in := range inputs {
		text, err := composefile.Marshal(in.Project, "yaml")
		if err != nil {
			t.Fatal(err)
		}
		again, err := readAgain(t, in, string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compareTranslations(t, name, in, again)
	}
}

// The order in which a file lists things that have names makes no difference.
func TestOrderOfKeysMakesNoDifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, in := range goldenInputs(t) {
		text, err := os.ReadFile(filepath.Join("testdata/golden", name, "compose.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(text, "&*") {
			continue // an anchor stands before what uses it
		}
		for range 5 {
			again, err := readAgain(t, in, shuffled(t, random, text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			compareTranslations(t, name, in, again)
		}
	}
}

// shuffled is a YAML document with the keys of its mappings in another order.
func shuffled(t *testing.T, random *rand.Rand, text []byte) string {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var shuffle func(n *yaml.Node)
	shuffle = func(n *yaml.Node) {
		if n.ShortTag() == "!!null" {
			n.Value = "null"
		}
		if n.Kind == yaml.MappingNode {
			random.Shuffle(len(n.Content)/2, func(i, j int) {
				n.Content[2*i], n.Content[2*j] = n.Content[2*j], n.Content[2*i]
				n.Content[2*i+1], n.Content[2*j+1] = n.Content[2*j+1], n.Content[2*i+1]
			})
		}
		for _, child := range n.Content {
			shuffle(child)
		}
	}
	shuffle(&root)
	out, err := yaml.Marshal(&root)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// readAgain reads another text of a project, in its directory.
func readAgain(t *testing.T, in translate.Input, text string) (translate.Input, error) {
	t.Helper()
	env := in.Project.Environment.Values()
	for _, s := range in.Project.Secrets { // an included project may have variables of its own
		if s.Environment != "" {
			env = append(env, s.Environment+"="+s.Content)
		}
	}
	again, _, err := composefile.Read(t.Context(), composefile.Options{
		Dir: in.Project.WorkingDir, Files: []string{"-"}, Profiles: in.Project.Profiles, ProjectName: in.Project.Name, Stdin: strings.NewReader(text),
		Env: env,
	})
	again.Images = in.Images
	return again, err
}

// compareTranslations translates two inputs for every target.
func compareTranslations(t *testing.T, name string, in, again translate.Input) {
	t.Helper()
	for kind, target := range targets() {
		want, got := manifests(t, mustTranslate(t, in, target)), manifests(t, mustTranslate(t, again, target))
		if want != got {
			t.Errorf("%s/%s: %s", name, kind, firstDifference(want, got))
		}
	}
}
