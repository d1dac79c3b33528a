package image

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// withEngine are images of an engine that holds those by name, and can do
// nothing else but say what it is, and of what is called registry/NAME:TAG that
// its registry has it.
func withEngine(t *testing.T, held map[string]any) *Images {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", "1.47")
		_, name, _ := strings.Cut(r.URL.Path, "/images/")
		var answer any
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			return
		case strings.HasSuffix(r.URL.Path, "/version"):
			answer = map[string]string{"Arch": "amd64", "Os": "linux"}
		case strings.Contains(r.URL.Path, "/distribution/"):
			_, name, _ = strings.Cut(r.URL.Path, "/distribution/")
			answer = held["registry/"+strings.TrimSuffix(name, "/json")]
		default:
			answer = held[strings.TrimSuffix(name, "/json")]
		}
		if answer == nil {
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]string{"message": "not here"}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	engine, err := docker.Connect(t.Context(), "tcp://"+strings.TrimPrefix(server.URL, "http://"))
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

func TestEarlierBuildsAreBroughtBackOrReported(t *testing.T) {
	held := map[string]any{}
	images := withEngine(t, held)
	fakes, nodes := fakeNodes("a", "b")
	img := imageOf(t, images, nil, tarLayer(t, "app", "1"))
	id := img.Manifest.Config.Digest.String()
	ref := contentTag("shop-web", id)
	bring := func() error { return images.Bring(t.Context(), []string{ref}, nodes, progress.Discard) }

	err := bring()
	if err == nil || !strings.Contains(err.Error(), ref) || !strings.Contains(problem.Hint(err), "berth up") {
		t.Errorf("an image that nobody has: %v", err)
	}
	held[ref] = map[string]any{
		"Id": id, "RepoTags": []string{ref}, "Os": "linux", "Architecture": "amd64",
		"RootFS": map[string]any{"Type": "layers", "Layers": digestStrings(img.DiffIDs)},
	}
	if err := images.cache.PutImage(imageKey(id, "linux/amd64"), img.Image); err != nil {
		t.Fatal(err)
	}
	if err := bring(); err != nil {
		t.Fatalf("an image that the engine has: %v", err)
	}
	for _, f := range fakes {
		if !slices.Equal(f.received, []int{1}) {
			t.Errorf("node %s received layers %v", f.name, f.received)
		}
	}
	delete(held, ref)
	if err := bring(); err != nil {
		t.Errorf("an image that all nodes have: %v", err)
	}
	pushed := "r.example/" + ref
	held["registry/"+pushed] = map[string]any{"Descriptor": map[string]any{"digest": id}}
	if err := images.Bring(t.Context(), []string{pushed}, nodes, progress.Discard); err != nil {
		t.Errorf("an image that nodes pull: %v", err)
	}
}

func TestOnlyContentTagsAreOnesOfBerth(t *testing.T) {
	got := ContentTags([]string{"redis:7", "shop-web:berth-0123456789ab", "r.example/shop-web:berth-0123456789ab@sha256:00"})
	if !slices.Equal(got, []string{"shop-web:berth-0123456789ab"}) {
		t.Errorf("content tags are %v", got)
	}
}

func TestPodsGetFromARegistryWhatHasItsNameOnNodes(t *testing.T) {
	for _, c := range []struct {
		registry Registry
		ref      string
		want     bool
	}{
		{Registry{}, "shop-web:berth-0123456789ab", false},
		{Registry{Prefix: "localhost:5001"}, "localhost:5001/shop-web:berth-0123456789ab", true},
		{Registry{Prefix: "localhost:5001/"}, "localhost:50010/shop-web:berth-0123456789ab", false},
		{Registry{Prefix: "localhost:5001", PullPrefix: "registry:5000"}, "registry:5000/shop-web:berth-0123456789ab", true},
		{Registry{Prefix: "localhost:5001", PullPrefix: "registry:5000"}, "localhost:5001/shop-web:berth-0123456789ab", false},
	} {
		if got := c.registry.Serves(c.ref); got != c.want {
			t.Errorf("%+v serves %s: %v", c.registry, c.ref, got)
		}
	}
}
