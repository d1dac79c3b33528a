package image

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	registryerror "github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// uploads starts a registry and counts the blobs it is sent.
func uploads(t *testing.T, tls bool) (host string, taken func() int) {
	t.Helper()
	var mu sync.Mutex
	count := 0
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") {
			mu.Lock()
			count++
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	})
	server := httptest.NewUnstartedServer(handler)
	if tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	_, host, _ = strings.Cut(server.URL, "://")
	return host, func() int {
		mu.Lock()
		defer mu.Unlock()
		n := count
		count = 0
		return n
	}
}

func TestPushSendsOnlyMissingLayers(t *testing.T) {
	_, images, project := onEngine(t)
	host, taken := uploads(t, false)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY base /base\nCOPY app /app\n", "base": strings.Repeat(project, 1000), "app": "1"})
	push := func(app string) string {
		t.Helper()
		write(t, dir, "app", app)
		facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		names, err := images.PushTo(t.Context(), []string{facts.Ref}, Registry{Prefix: host + "/team", Insecure: true}, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return names[facts.Ref].Name
	}
	first := push("1")
	if n := taken(); n != 3 { // two layers and the config
		t.Errorf("%d blobs were sent at first", n)
	}
	if !strings.HasPrefix(first, host+"/team/"+project+":berth-") || !strings.Contains(first, "@sha256:") {
		t.Errorf("the name for pods is %s", first)
	}
	second := push("2")
	if n := taken(); n != 2 {
		t.Errorf("%d blobs were sent after a change", n)
	}
	if again := push("2"); again != second || taken() != 0 {
		t.Errorf("nothing changed, but %s was pushed after %s", again, second)
	}
	for _, pushed := range []string{first, second} {
		ref, err := name.ParseReference(pushed, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := readWhole(ref); err != nil {
			t.Errorf("%s cannot be pulled whole: %v", pushed, err)
		}
	}
}

// readWhole pulls every layer; go-containerregistry checks the digests.
func readWhole(ref name.Reference) error {
	img, err := remote.Image(ref)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 2 {
		return fmt.Errorf("%d layers: %w", len(layers), err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

func TestInsecureRegistryMustBeNamed(t *testing.T) {
	_, images, project := onEngine(t)
	host, _ := uploads(t, true)
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	refs := []string{facts.Ref}
	if _, err := images.PushTo(t.Context(), refs, Registry{Prefix: host}, progress.Discard); err == nil || !strings.Contains(problem.Hint(err), "insecure") {
		t.Errorf("error is %v", err)
	}
	if _, err := images.PushTo(t.Context(), refs, Registry{Prefix: host, Insecure: true}, progress.Discard); err != nil {
		t.Error(err)
	}
	var absent *problem.Problem
	if _, err := images.PushTo(t.Context(), []string{"berth.invalid/none"}, Registry{Prefix: host, Insecure: true}, progress.Discard); !errors.As(err, &absent) {
		t.Errorf("an image that is not there: %v", err)
	}
}

func TestNamesInARegistry(t *testing.T) {
	r := Registry{Prefix: "registry.example:5000/team"}
	for ref, want := range map[string]string{
		"redis:7":                                "registry.example:5000/team/redis:7",
		"web":                                    "registry.example:5000/team/web:latest",
		"ghcr.io/a/b:1":                          "registry.example:5000/team/a/b:1",
		"registry.example:5000/team/web:berth-1": "registry.example:5000/team/web:berth-1",
	} {
		if got, err := r.RemoteName(ref); got != want || err != nil {
			t.Errorf("%s is %s there (%v), want %s", ref, got, err, want)
		}
	}
}

func TestRegistryThatAClusterHosts(t *testing.T) {
	tests := []struct {
		text  string
		want  Registry
		found bool
	}{
		{"host: \"localhost:5001\"\nhelp: \"https://example.org\"\n", Registry{Prefix: "localhost:5001", Insecure: true}, true},
		{"host: localhost:5001\nhostFromContainerRuntime: registry:5000\n", Registry{Prefix: "localhost:5001", PullPrefix: "registry:5000", Insecure: true}, true},
		{"host: registry.example\n", Registry{Prefix: "registry.example"}, true},
		{"help: none\n", Registry{}, false},
		{"", Registry{}, false},
	}
	for _, tt := range tests {
		got, found, err := parseHosting(tt.text)
		if err != nil || found != tt.found || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%q gives %+v, %t, %v", tt.text, got, found, err)
		}
	}
	if _, _, err := parseHosting("- host"); err == nil {
		t.Error("a list was accepted")
	}
}

func TestLayersAreCompressedForRemoteRegistriesOnce(t *testing.T) {
	images := offEngine(t)
	img := imageOf(t, images, nil, tarLayer(t, "a", strings.Repeat("a", 100_000)), tarLayer(t, "b", "b"))
	all := map[int]bool{0: true, 1: true}
	first, err := images.cache.Compress(t.Context(), img.Image, all)
	if err != nil {
		t.Fatal(err)
	}
	if size := first.Manifest.Layers[0].Size; size > 10_000 || !strings.HasSuffix(first.Manifest.Layers[0].MediaType, "+gzip") {
		t.Errorf("layer 0 is %+v", first.Manifest.Layers[0])
	}
	for _, l := range img.Manifest.Layers {
		if err := images.cache.Remove(l.Digest); err != nil {
			t.Fatal(err)
		}
	}
	second, err := images.cache.Compress(t.Context(), img.Image, all)
	if err != nil || second.Digest() != first.Digest() {
		t.Errorf("the second time: %v", err)
	}
	for host, want := range map[string]bool{"localhost:5000": true, "127.0.0.1:5000": true, "10.1.2.3": true, "index.docker.io": false, "registry.example:5000": false} {
		if isLocal(host) != want {
			t.Errorf("isLocal(%s) is %t", host, !want)
		}
	}
	if !slices.Equal(first.DiffIDs, img.DiffIDs) {
		t.Error("the diff IDs changed")
	}
}

func TestRegistryThatRefusesNamesTheLogin(t *testing.T) {
	r := Registry{Prefix: "registry.test/team"}
	for status, want := range map[int]string{http.StatusUnauthorized: "docker login registry.test", http.StatusForbidden: "docker login registry.test", http.StatusInternalServerError: ""} {
		// A HEAD has no body that would name the reason.
		err := fmt.Errorf("push: %w", &registryerror.Error{StatusCode: status})
		if got := pushHint(err, r); got != want {
			t.Errorf("status %d: %q, want %q", status, got, want)
		}
	}
}
