package workshop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// folder writes a txtar as a workshop's folder. Files without extension are
// programs.
func folder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(text)).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if filepath.Ext(f.Name) == "" {
			mode = 0o755
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const head = "-- workshop.yaml --\nname: w\ntitle: W\nsteps:\n  - {dir: one, title: One}\n"

func TestLintNamesFileAndLine(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":               {head + "-- one/step.md --\n# One\n-- one/check --\n#!/bin/sh\n", ""},
		"unknown key":           {"-- workshop.yaml --\nname: w\ntitle: W\ncolour_of: 2h\nsteps: [{dir: one, title: One}]\n", "workshop.yaml:3: field colour_of not found"},
		"broken YAML":           {"-- workshop.yaml --\nname: [w\ntitle: W\n", "workshop.yaml:1: did not find"},
		"bad time":              {"-- workshop.yaml --\nname: w\ntitle: W\ntime: soon\nsteps: [{dir: one, title: One}]\n", `workshop.yaml:3: "soon" is not a time`},
		"bad name":              {"-- workshop.yaml --\nname: My Workshop\ntitle: W\nsteps: [{dir: one, title: One}]\n", `workshop.yaml:1: name "My Workshop"`},
		"no steps":              {"-- workshop.yaml --\nname: w\ntitle: W\n", "workshop.yaml:1: there are no steps"},
		"outside":               {"-- workshop.yaml --\nname: w\ntitle: W\nsteps:\n  - {dir: ../one, title: One}\n", `workshop.yaml:4: steps[0].dir: "../one" is not a folder of the workshop`},
		"twice":                 {head + "  - {dir: one, title: Again}\n", `workshop.yaml:5: steps[1].dir: "one" is there twice`},
		"bad scope":             {"-- workshop.yaml --\nname: w\ntitle: W\nsteps:\n  - {dir: one, title: One, scope: world}\n", `workshop.yaml:4: steps[0].scope: "world"`},
		"no folder":             {head, "one: the step's folder is missing"},
		"no text":               {head + "-- one/check --\n#!/bin/sh\n", "one/step.md: the step has no text"},
		"open fence":            {head + "-- one/step.md --\n# One\n\n```sh\nls\n", "one/step.md:3: the code block is never closed"},
		"fence in fence":        {head + "-- one/step.md --\n# One\n\n````\n```sh\n````\n", ""},
		"two titles":            {head + "-- one/step.md --\n# One\n\n# Two\n", "one/step.md:3: a second title"},
		"a link out":            {head + "-- one/step.md --\n# One\n\nSee [this](../workshop.yaml).\n", `one/step.md:3: links to "../workshop.yaml", which is outside the step's folder`},
		"a link to a folder":    {head + "-- one/step.md --\n# One\n\nSee [this](.).\n", `one/step.md:3: links to ".", which is no file`},
		"lost link":             {head + "-- one/step.md --\n# One\n\nSee [this](that.md).\n", `one/step.md:3: links to "that.md", which is not there`},
		"other links":           {head + "-- one/step.md --\n# One\n\n[a](https://x.example) [b](#c) [d](step.md)\n", ""},
		"no interpreter":        {head + "-- one/step.md --\n# One\n-- one/check --\nexit 0\n", "one/check:1: it has no first line such as #!/bin/sh"},
		"Windows line ends":     {head + "-- one/step.md --\n# One\n-- one/check --\n#!/bin/sh\r\n", "one/check:1: its lines end as on Windows"},
		"not executable":        {head + "-- one/step.md --\n# One\n-- one/check.sh --\n#!/bin/sh\n", "one/check.sh:1: it is not executable: chmod +x"},
		"two programs":          {head + "-- one/step.md --\n# One\n-- one/check --\n#!/bin/sh\n-- one/check.sh --\n#!/bin/sh\n", "has several programs check"},
		"solve without check":   {head + "-- one/step.md --\n# One\n-- one/solve --\n#!/bin/sh\n-- one/cleanup --\n#!/bin/sh\n", "there is a solve and no check"},
		"solve without cleanup": {head + "-- one/step.md --\n# One\n-- one/check --\n#!/bin/sh\n-- one/solve --\n#!/bin/sh\n", "the step cannot be reset"},
		"a tag to pull":         {"-- workshop.yaml --\nname: w\ntitle: W\nbuilds: [{image: app, dir: app}]\nsteps: [{dir: one, title: One}]\n", `builds[0].image: "app" needs a tag`},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Lint(folder(t, tc.text))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, f := range found {
				lines = append(lines, f.String())
			}
			got := strings.Join(lines, "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("got\n%s\nwant %q", got, tc.want)
			}
		})
	}
}

func TestProgressSurvivesAndIsNobodyElses(t *testing.T) {
	dir := t.TempDir()
	store := NewStore(dir)
	if _, err := store.Load(""); err == nil || !strings.Contains(err.Error(), "no workshop is started") {
		t.Errorf("without a workshop: %v", err)
	}
	w := Workshop{Name: "w", Dir: "/w"}
	n := 0
	run := NewRun(w, 2, func() string { n++; return strings.Repeat("x", n) })
	if run.Learners[0].Namespace != "w-learner-1" || run.Learners[0].Token == run.Learners[1].Token || !run.Learners[0].Confined {
		t.Errorf("learners %+v", run.Learners)
	}
	if err := store.Save(run); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := store.SaveProgress("w", "learner-1", Progress{Step: 1, Done: map[int]time.Time{0: now}}); err != nil {
		t.Fatal(err)
	}
	if err := store.Broadcast("w", " hello ", now); err != nil {
		t.Fatal(err)
	}
	if err := store.Broadcast("w", strings.Repeat("x", 501), now); err == nil {
		t.Error("a message of any length is taken")
	}
	again := NewStore(dir)
	loaded, err := again.Load("")
	if err != nil || loaded.Name != "w" || len(loaded.Messages) != 1 || loaded.Messages[0].Text != "hello" {
		t.Errorf("%+v, %v", loaded, err)
	}
	if p, err := again.Progress("w", "learner-1"); err != nil || p.Step != 1 || !p.Done[0].Equal(now) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := again.Progress("w", "learner-2"); err != nil || p.Step != 0 || len(p.Done) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	info, err := os.Stat(filepath.Join(dir, "w", "run.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the tokens: %v, %v", info.Mode(), err)
	}
	release, err := store.Lock(t.Context(), "w", "learner-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Lock(t.Context(), "w", "learner-1"); err == nil {
		t.Error("two work on one learner's step at once")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove("w"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load("w"); err == nil {
		t.Error("a workshop that was removed is still there")
	}
}
