package composefile

import (
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
)

// optionsOf says how to read a project of the corpus.
func optionsOf(p testneed.Project) Options {
	return Options{Dir: p.Dir, Files: p.Files, EnvFiles: p.EnvFiles, Profiles: p.Profiles, Env: []string{"HOME=/root"}}
}

func TestEveryProjectOfTheCorpusIsReadAsComposeGoReadsIt(t *testing.T) {
	t.Setenv("HOME", "/root")
	for _, p := range testneed.Projects(t) {
		t.Run(p.Name, func(t *testing.T) {
			ours, _, err := Read(t.Context(), optionsOf(p))
			if err != nil {
				t.Fatal(err)
			}
			if len(ours.Project.Services)+len(ours.Project.Jobs) == 0 {
				t.Error("no services")
			}
			theirs, err := composeGo(t.Context(), optionsOf(p))
			if err != nil {
				t.Fatalf("compose-go: %v", err)
			}
			compareProjects(t, ours.Project, theirs)
		})
	}
}
