package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestBasesAreAllImagesThatABuildNeeds(t *testing.T) {
	for name, tc := range map[string]struct {
		spec model.BuildSpec
		want string
	}{
		"one":                   {model.BuildSpec{DockerfileInline: "FROM alpine:3\nRUN true\n"}, "alpine:3"},
		"lower case, indented":  {model.BuildSpec{DockerfileInline: "  from --platform=$BUILDPLATFORM alpine:3 as x\n"}, "alpine:3"},
		"scratch":               {model.BuildSpec{DockerfileInline: "FROM scratch\nCOPY a /\n"}, ""},
		"stages":                {model.BuildSpec{DockerfileInline: "FROM golang:1 AS Build\nFROM debian\nCOPY --from=build /a /\nCOPY --from=0 /b /\n"}, "debian golang:1"},
		"copied from":           {model.BuildSpec{DockerfileInline: "FROM scratch\nCOPY --from=busybox:1 /bin/sh /\n"}, "busybox:1"},
		"mounted from":          {model.BuildSpec{DockerfileInline: "FROM a\nRUN --mount=type=bind,from=tools:2,target=/t true\n"}, "a tools:2"},
		"mounted from a stage":  {model.BuildSpec{DockerfileInline: "FROM a AS deps\nFROM b\nRUN --mount=from=deps,target=/t true\n"}, "a b"},
		"an argument":           {model.BuildSpec{DockerfileInline: "ARG GO=1.26\nFROM golang:${GO}\n"}, "golang:1.26"},
		"an argument set":       {model.BuildSpec{DockerfileInline: "ARG GO=1.26\nFROM golang:${GO}\n", Args: map[string]string{"GO": "1.25"}}, "golang:1.25"},
		"an argument of others": {model.BuildSpec{DockerfileInline: "ARG V=3\nARG BASE=alpine:$V\nFROM ${BASE}\n"}, "alpine:3"},
		"a default":             {model.BuildSpec{DockerfileInline: "ARG BASE\nFROM ${BASE:-alpine:3}\n"}, "alpine:3"},
		"a stage by argument":   {model.BuildSpec{DockerfileInline: "ARG MODE=dev\nFROM a AS dev\nFROM b AS prod\nFROM ${MODE}\n"}, "a"},
		"the platform":          {model.BuildSpec{DockerfileInline: "FROM base-${TARGETARCH}\n"}, "base-arm64"},
		"a target":              {model.BuildSpec{DockerfileInline: "FROM a AS one\nFROM b AS two\n", Target: "one"}, "a"},
		"stages of no use":      {model.BuildSpec{DockerfileInline: "FROM a AS one\nFROM b\n"}, "b"},
		"a comment, a heredoc":  {model.BuildSpec{DockerfileInline: "# FROM x\nFROM a\nRUN <<EOF\nFROM y\nEOF\n"}, "a"},
		"a continued line":      {model.BuildSpec{DockerfileInline: "FROM \\\n  a:1\n"}, "a:1"},
		"a digest":              {model.BuildSpec{DockerfileInline: "FROM a@sha256:0123\n"}, "a@sha256:0123"},
		"another context":       {model.BuildSpec{DockerfileInline: "FROM base\nCOPY --from=src / /\n", AdditionalContexts: map[string]string{"base": "docker-image://alpine:3", "src": "./src"}}, "alpine:3"},
	} {
		t.Run(name, func(t *testing.T) {
			got, known, err := Bases(tc.spec, "linux/arm64")
			if want := strings.Fields(tc.want); err != nil || !known || !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("%q, %v, %v, want %q", got, known, err, want)
			}
		})
	}
}

func TestBasesOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM a\n", "other": "FROM b\n", "broken": "FRUM b\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		spec  model.BuildSpec
		want  string
		known bool
		fails string
	}{
		"the usual":      {model.BuildSpec{Context: dir}, "a", true, ""},
		"another":        {model.BuildSpec{Context: dir, Dockerfile: "other"}, "b", true, ""},
		"by its path":    {model.BuildSpec{Context: t.TempDir(), Dockerfile: filepath.Join(dir, "other")}, "b", true, ""},
		"missing":        {model.BuildSpec{Context: dir, Dockerfile: "none"}, "", false, "no such file"},
		"broken":         {model.BuildSpec{Name: "web", Context: dir, Dockerfile: "broken"}, "", false, `Dockerfile of image "web"`},
		"a remote place": {model.BuildSpec{Context: "https://example.com/x.git"}, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, known, err := Bases(tc.spec, "linux/amd64")
			if known != tc.known || strings.Join(got, " ") != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%q, %v, %v, want %q", got, known, err, tc.want)
			}
		})
	}
}
