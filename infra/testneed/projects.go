package testneed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Project is a project of the corpus, and how its SOURCE file says to load it.
type Project struct {
	Name, Dir                 string
	Files, EnvFiles, Profiles []string
}

// Projects lists the projects of the corpus by name, or skips the test.
func Projects(t testing.TB) []Project {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(Corpus(t), "*", "SOURCE"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no projects in the corpus: %v", err)
	}
	var projects []Project
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(source)
		p := Project{Name: filepath.Base(dir), Dir: dir}
		for line := range strings.Lines(string(content)) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "files":
				p.Files = strings.Fields(value)
			case "env-files":
				p.EnvFiles = strings.Fields(value)
			case "profiles":
				p.Profiles = strings.Fields(value)
			}
		}
		projects = append(projects, p)
	}
	return projects
}
