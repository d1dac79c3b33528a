package image

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// withoutBuildKit returns Images of an engine that has only the classic builder,
// as podman's service.
func withoutBuildKit(t *testing.T) *Images {
	t.Helper()
	id := "sha256:" + strings.Repeat("a1", 32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		path := r.URL.Path
		switch {
		case strings.HasSuffix(path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
		case strings.HasSuffix(path, "/build"):
			_, _ = io.WriteString(w, `{"stream":"Step 1/1 : FROM scratch\n"}{"aux":{"ID":"`+id+`"}}`)
		case strings.HasSuffix(path, "/json"):
			_, _ = io.WriteString(w, `{"Id":"`+id+`","Os":"linux","Architecture":"amd64"}`)
		case strings.HasSuffix(path, "/tag"):
			w.WriteHeader(http.StatusCreated)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	images, err := New(engine, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestTheClassicBuilderIsUsedWithoutBuildKitAndSaidOnce(t *testing.T) {
	images := withoutBuildKit(t)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	var seen events
	facts, err := images.BuildAll(t.Context(), []model.BuildSpec{{Name: "shop-web", Context: dir}, {Name: "shop-api", Context: dir}}, 0, &seen)
	if err != nil {
		t.Fatal(err)
	}
	if got := facts["shop-web"].Ref; got != "shop-web:berth-a1a1a1a1a1a1" {
		t.Errorf("the content tag is %q", got)
	}
	if text := seen.text(); strings.Count(text, "classic builder") != 1 || !strings.Contains(text, "Step 1/1") {
		t.Errorf("what was said:\n%s", text)
	}
}

func TestWhatOnlyBuildKitCanDoIsRefusedWithoutIt(t *testing.T) {
	images := withoutBuildKit(t)
	for want, spec := range map[string]model.BuildSpec{
		"secrets":                  {Secrets: []model.BuildSecret{{ID: "token", Value: "x"}}},
		"ssh":                      {SSH: []model.BuildSSH{{ID: "default"}}},
		"additional_contexts":      {AdditionalContexts: map[string]string{"lib": "/lib"}},
		"cache_to":                 {CacheTo: []string{"type=inline"}},
		"entitlements":             {Privileged: true},
		"several platforms":        {Platforms: []string{"linux/amd64", "linux/arm64"}},
		"provenance":               {Provenance: "true"},
		"sbom":                     {SBOM: "true"},
		"no_cache_filter":          {NoCacheFilter: []string{"base"}},
		"a Dockerfile of this mac": {Context: "https://example.invalid/shop.git", DockerfileInline: "FROM scratch\n"},
	} {
		spec.Name = "shop-web"
		var seen events
		_, err := images.Build(t.Context(), spec, &seen)
		if err == nil || !strings.Contains(err.Error(), want) || problem.Hint(err) == "" {
			t.Errorf("%s: %v", want, err)
		}
	}
}
