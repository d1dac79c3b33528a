package composefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
)

// corpusProject is one project of the corpus: how its SOURCE file says to load it.
type corpusProject struct {
	name    string
	options Options
}

// corpus lists the projects of the corpus, by name.
func corpus(t testing.TB) []corpusProject {
	t.Helper()
	root := testneed.Corpus(t)
	sources, err := filepath.Glob(filepath.Join(root, "*", "SOURCE"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no projects in the corpus: %v", err)
	}
	var projects []corpusProject
	for _, source := range sources {
		dir := filepath.Dir(source)
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		p := corpusProject{name: filepath.Base(dir), options: Options{Dir: dir}}
		for _, line := range strings.Split(string(content), "\n") {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "files":
				p.options.Files = strings.Fields(value)
			case "env-files":
				p.options.EnvFiles = strings.Fields(value)
			case "profiles":
				p.options.Profiles = strings.Fields(value)
			}
		}
		projects = append(projects, p)
	}
	return projects
}

func TestEveryProjectOfTheCorpusLoads(t *testing.T) {
	for _, p := range corpus(t) {
		t.Run(p.name, func(t *testing.T) {
			input, _, err := Read(t.Context(), p.options)
			if err != nil {
				t.Fatal(err)
			}
			if len(input.Project.Services)+len(input.Project.Jobs) == 0 {
				t.Error("no services")
			}
		})
	}
}
