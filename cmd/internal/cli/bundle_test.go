package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate/composefile"
)

func TestARealImageIsNeverReplacedByAStandIn(t *testing.T) {
	packed := func(standIn bool) bundle.Packed {
		var config ocispec.Image
		if standIn {
			config.Config.Labels = map[string]string{model.LabelStandIn: "true"}
		}
		raw, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		img, err := layout.NewImage(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		return bundle.Packed{Image: img, Ref: "docker.io/library/redis:7"}
	}
	engine := func(id string, standIn bool) docker.Image {
		have := docker.Image{Facts: model.ImageFacts{ID: id}}
		if standIn {
			have.Facts.Labels = map[string]string{model.LabelStandIn: "true"}
		}
		return have
	}
	other := digest.FromString("another").String()
	for name, tc := range map[string]struct {
		have  docker.Image
		found bool
		img   bundle.Packed
		want  packedAction
	}{
		"nothing there":                    {img: packed(true), want: packedLoad},
		"the same, by its manifest":        {engine(packed(true).Digest().String(), true), true, packed(true), packedHeld},
		"the same, by its config":          {engine(packed(false).Manifest.Config.Digest.String(), false), true, packed(false), packedHeld},
		"a real one, and a stand-in comes": {engine(other, false), true, packed(true), packedKeep},
		"a stand-in, and a real one comes": {engine(other, true), true, packed(false), packedReplace},
		"another stand-in":                 {engine(other, true), true, packed(true), packedReplace},
		"another real one":                 {engine(other, false), true, packed(false), packedReplace},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := packedPlan(tc.have, tc.found, tc.img); err != nil || got != tc.want {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestABundleOfAnotherArchitectureIsRefused(t *testing.T) {
	c := bundle.Contents{Platform: "linux/arm64"}
	if err := runsOn(c, "linux/arm64"); err != nil {
		t.Error(err)
	}
	err := runsOn(c, "linux/amd64")
	if err == nil || !strings.Contains(err.Error(), "its images are for linux/arm64, and the engine runs linux/amd64") ||
		!strings.Contains(problem.Hint(err), "on a machine that runs linux/amd64") {
		t.Errorf("%v, hint %q", err, problem.Hint(err))
	}
}

func TestASharedLayerNeedsSpaceOnce(t *testing.T) {
	image := func(layers ...string) bundle.Packed {
		var p bundle.Packed
		for _, l := range layers {
			p.Manifest.Layers = append(p.Manifest.Layers, ocispec.Descriptor{Digest: digest.FromString(l), Size: int64(len(l))})
		}
		return p
	}
	plan := bundle.Plan{
		Images:   []bundle.Packed{image("base", "web"), image("base")},
		Contents: bundle.Contents{Files: []bundle.File{{Digest: digest.FromString("files"), Size: 100}}},
	}
	if got, want := sizeOf(plan), int64(len("base")+len("web")+100); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

func TestABundleThatDoesNotFitIsRefused(t *testing.T) {
	const mb = 1 << 20
	sizes := map[string]uint64{"/cache": 100 * mb, "/engine": 50 * mb}
	free := func(path string) (uint64, error) {
		if have, ok := sizes[path]; ok {
			return have, nil
		}
		return 0, errors.ErrUnsupported
	}
	apart := func(string, string) (bool, error) { return false, nil }
	together := func(string, string) (bool, error) { return true, nil }
	for name, tc := range map[string]struct {
		needs []spaceNeed
		same  func(a, b string) (bool, error)
		want  string
	}{
		"it fits":              {[]spaceNeed{{"/cache", 90 * mb}, {"/engine", 40 * mb}}, apart, ""},
		"not the cache":        {[]spaceNeed{{"/cache", 101 * mb}, {"/engine", 40 * mb}}, apart, "100 MB are free where /cache is, and up to 101 MB"},
		"not the engine":       {[]spaceNeed{{"/cache", 1 * mb}, {"/engine", 51 * mb}}, apart, "50 MB are free where /engine is"},
		"not all on one disk":  {[]spaceNeed{{"/cache", 60 * mb}, {"/engine", 45 * mb}}, together, "up to 105 MB are needed"},
		"nothing left to load": {[]spaceNeed{{"/cache", 0}, {"/engine", 0}}, together, ""},
		"an unknown disk":      {[]spaceNeed{{"/elsewhere", 900 * mb}}, apart, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkSpace(tc.needs, free, tc.same)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestABundleIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.berth")
	old, young := filepath.Join(dir, ".bundle-shop.berth-1"), filepath.Join(dir, ".bundle-shop.berth-2")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is full")
	err := writeWhole(t.Context(), path, func(w io.Writer) error {
		_, err := w.Write([]byte("hal"))
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := writeWhole(t.Context(), path, func(w io.Writer) error { _, err := w.Write([]byte("whole")); return err }); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := writeWhole(ended, path, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 2 || found[0] != young { // which somebody may be writing
		t.Errorf("there are %v, %v", found, err)
	}
}

func TestFilesOutsideOfTheProjectAreNamed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"shop/compose.yaml": `
include: [../common/redis.yaml]
services:
  web:
    build: {context: ../web, additional_contexts: {lib: ../lib, base: "docker-image://alpine"}}
    env_file: [../web.env, web.env]
    volumes: ["../data:/data", "./own:/own", "../nowhere:/nowhere", "/:/host:ro"]
    configs: [c]
configs: {c: {file: ../c.conf}}
`,
		"common/redis.yaml": "services: {redis: {image: redis}}\n", "web/Dockerfile": "FROM alpine\n", "lib/x": "", "web.env": "A=1\n",
		"shop/web.env": "B=1\n", "data/x": "", "shop/own/x": "", "c.conf": "c",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	input, source, err := composefile.Read(t.Context(), composefile.Options{Dir: filepath.Join(dir, "shop")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, path := range outsideFiles(input, source.Dir) {
		got = append(got, strings.TrimPrefix(path, dir))
	}
	want := "/ /c.conf /common/redis.yaml /data /lib /web /web.env"
	if text := strings.Join(got, " "); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
}

func TestALoadedProjectKeepsItsName(t *testing.T) {
	for name, tc := range map[string]struct {
		compose, env string
		options      composefile.Options
		want         string // of .env in the bundle; "" for as it is
	}{
		"the file says it":        {compose: "name: shop\n"},
		"the folder says it":      {want: "COMPOSE_PROJECT_NAME=folder\n"},
		"the user says another":   {compose: "name: shop\n", options: composefile.Options{ProjectName: "other"}, want: "COMPOSE_PROJECT_NAME=other\n"},
		"there is a .env":         {env: "A=1", want: "A=1\nCOMPOSE_PROJECT_NAME=folder\n"},
		"the .env says it":        {env: "COMPOSE_PROJECT_NAME=x\n"},
		"the environment says it": {options: composefile.Options{Env: []string{"COMPOSE_PROJECT_NAME=y"}}, want: "COMPOSE_PROJECT_NAME=y\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "folder")
			files := map[string]string{"compose.yaml": tc.compose + "services: {web: {image: nginx}}\n"}
			if tc.env != "" {
				files[".env"] = tc.env
			}
			for file, text := range files {
				if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			tc.options.Dir = dir
			input, source, err := composefile.Read(t.Context(), tc.options)
			if err != nil {
				t.Fatal(err)
			}
			instead, err := pinnedName(source, input.Project.Name)
			if err != nil || string(instead[".env"]) != tc.want {
				t.Errorf("%q, %v, want %q", instead[".env"], err, tc.want)
			}
		})
	}
}
