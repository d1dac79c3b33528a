package offline

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryRecipeIsInOrder(t *testing.T) {
	recipes, err := Recipes()
	if err != nil {
		t.Fatal(err)
	}
	instruction := regexp.MustCompile(`^(CMD|ENTRYPOINT|ENV|EXPOSE|USER|VOLUME|WORKDIR|STOPSIGNAL) \S`)
	user := regexp.MustCompile(`^[a-z]+:[0-9]+$`)
	seen := map[string]string{}
	for _, r := range recipes {
		if r.Holds == "" || len(r.Refs) == 0 || len(r.Config) == 0 {
			t.Errorf("%s: says too little", r.Name)
		}
		for _, ref := range r.Refs {
			if other := seen[shortRef(ref)]; other != "" {
				t.Errorf("%s: %s stands in for %q too", r.Name, other, ref)
			}
			seen[shortRef(ref)] = r.Name
		}
		for _, c := range r.Config {
			if !instruction.MatchString(c) {
				t.Errorf("%s: %q is no instruction a commit takes", r.Name, c)
			}
		}
		for _, u := range r.Users {
			if !user.MatchString(u) {
				t.Errorf("%s: user %q is not name:number", r.Name, u)
			}
		}
		if r.Toolchain != "" && r.Toolchain != "go" {
			t.Errorf("%s: unknown toolchain %q", r.Name, r.Toolchain)
		}
		if r.Like != "" && r.install == "" {
			t.Errorf("%s: no folder %q", r.Name, r.Like)
		}
	}
	for _, ref := range DefaultBases() {
		if seen[shortRef(ref)] == "" {
			t.Errorf("no recipe for the default base %q", ref)
		}
	}
}

func TestScriptsParse(t *testing.T) {
	recipes, err := Recipes()
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, script string) {
		shell := "sh"
		if strings.HasPrefix(script, "#!/bin/bash") {
			shell = "bash"
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Skipf("needs %s", shell)
		}
		cmd := exec.CommandContext(t.Context(), shell, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for _, r := range recipes {
		check(r.Name+"/install.sh", r.install)
		check(r.Name+"/fetch.sh", r.fetch)
		for name, text := range r.files {
			if strings.HasPrefix(text, "#!") {
				check(r.Name+"/"+name, text)
			}
		}
	}
	for _, name := range nodeTexts {
		if text, err := nodeText(name); err != nil {
			t.Error(err)
		} else if !strings.HasSuffix(name, ".yaml") {
			check(name, text)
		}
	}
}

func TestKeyChangesWithTheRecipe(t *testing.T) {
	recipes, err := Recipes()
	if err != nil {
		t.Fatal(err)
	}
	base := recipes[slices.IndexFunc(recipes, func(r Recipe) bool { return r.Name == "redis" })]
	key := base.key("common", nil)
	if key != base.key("common", nil) {
		t.Error("the key is not stable")
	}
	changes := map[string]func(*Recipe){
		"packages": func(r *Recipe) { r.Packages = append(slices.Clone(r.Packages), "curl") },
		"config":   func(r *Recipe) { r.Config = r.Config[1:] },
		"install":  func(r *Recipe) { r.install += "true" },
		"a file":   func(r *Recipe) { r.files = map[string]string{"x": "y"} },
		"env":      func(r *Recipe) { r.Env = map[string]string{"A": "b"} },
	}
	for name, change := range changes {
		r := base
		change(&r)
		if r.key("common", nil) == key {
			t.Errorf("a change of %s does not change the key", name)
		}
	}
	if base.key("other", nil) == key || base.key("common", map[string]string{"ca": "x"}) == key {
		t.Error("a change of the common scripts or the authorities does not change the key")
	}
	r := base
	r.Refs = nil
	if r.key("common", nil) != key {
		t.Error("a further name for the same image makes it anew")
	}
}

func TestScriptsAreExecutable(t *testing.T) {
	r := Recipe{files: map[string]string{"b/script": "#!/bin/sh\n", "a.conf": "x"}}
	raw, err := r.archive()
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for tr := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
	}
	if modes["b/script"] != 0o755 || modes["a.conf"] != 0o644 {
		t.Errorf("modes %v", modes)
	}
}

func TestShortRef(t *testing.T) {
	for ref, want := range map[string]string{
		"redis":                              "redis:latest",
		"redis:7":                            "redis:7",
		"docker.io/library/redis:7":          "redis:7",
		"library/redis":                      "redis:latest",
		"ghcr.io/x/redis":                    "ghcr.io/x/redis:latest",
		"localhost:5000/redis":               "localhost:5000/redis:latest",
		"redis@sha256:0000000000000000":      "redis@sha256:0000000000000000",
		"docker.io/bitnami/redis:7.2-debian": "bitnami/redis:7.2-debian",
	} {
		if got := shortRef(ref); got != want {
			t.Errorf("shortRef(%q) = %q, want %q", ref, got, want)
		}
	}
}
