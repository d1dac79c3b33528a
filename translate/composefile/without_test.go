package composefile

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/berth-dev/berth/translate"
)

func TestAnAttributeCanBeLeftOut(t *testing.T) {
	const content = `
services:
  my.svc:
    image: x
    environment: [A=1, B.c=2]
    labels: {traefik.http.x: "1", keep: "1"}
    ports: ["1:1", "2:2"]
    volumes:
      - {type: bind, source: ., target: /x, read_only: true}
    healthcheck: {test: [CMD, x], interval: 1s}
`
	read := func(without string) (string, error) {
		input, _, err := Read(t.Context(), Options{Dir: t.TempDir(), Files: []string{stdin}, Stdin: strings.NewReader(content), ProjectName: "p", Without: without})
		if err != nil {
			return "", err
		}
		return canonicalYAML(t, input.Project), nil
	}
	whole, err := read("")
	if err != nil {
		t.Fatal(err)
	}
	for path, gone := range map[string]string{
		"services.my.svc.environment.A":         "A: \"1\"",
		"services.my.svc.environment.B.c":       "B.c: \"2\"",
		"services.my.svc.environment":           "environment:",
		"services.my.svc.labels.traefik.http.x": "traefik.http.x:",
		"services.my.svc.ports[0]":              "published: \"1\"",
		"services.my.svc.volumes[0].read_only":  "read_only: true",
		"services.my.svc.healthcheck.interval":  "interval: 1s",
	} {
		text, err := read(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !strings.Contains(whole, gone) || strings.Contains(text, gone) || bytes.Count([]byte(text), []byte("image: x")) != 1 {
			t.Errorf("%s: %q is still there:\n%s", path, gone, text)
		}
	}
	for _, path := range []string{"services.other.image", "services.my.svc.ports[5]", "services.my.svc.ports[x]", "services.my.svc.tty"} {
		if _, err := read(path); err == nil || !strings.Contains(err.Error(), "does not set") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestNamesNeedNoFiles(t *testing.T) {
	const content = `
services:
  web: {image: x, env_file: gone.env, label_file: gone.labels, configs: [c]}
configs: {c: {file: ./gone}}
`
	o := Options{Dir: t.TempDir(), Files: []string{stdin}, Stdin: strings.NewReader(content), ProjectName: "p"}
	if _, _, err := Read(t.Context(), o); err == nil {
		t.Error("no error")
	}
	o.Stdin, o.NamesOnly = strings.NewReader(content), true
	input, _, err := Read(t.Context(), o)
	if err != nil || len(input.Project.Services) != 1 {
		t.Errorf("got %v", err)
	}
}

func TestReadingTwiceGivesTheSame(t *testing.T) {
	for _, a := range archives(t, "testdata/projects/*.txtar") {
		a.unpack(t)
		var text string
		var places translate.Positions
		for i := range 20 {
			input, _, err := Read(t.Context(), a.options)
			if err != nil {
				t.Fatalf("%s: %v", a.name(), err)
			}
			again := canonicalYAML(t, input.Project)
			if i > 0 && (again != text || !maps.Equal(input.Positions, places)) {
				t.Errorf("%s: the project or the positions differ from those of the first time", a.name())
			}
			text, places = again, input.Positions
		}
	}
}
