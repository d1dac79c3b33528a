package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// noted keeps what was reported.
type noted []progress.Event

func (n *noted) Report(e progress.Event) { *n = append(*n, e) }

func (n noted) text() string {
	var lines []string
	for _, e := range n {
		lines = append(lines, e.Task+": "+e.Text)
	}
	return strings.Join(lines, "\n")
}

// forRegistry makes images available to a cluster by a registry, "" for none,
// with an engine that holds none.
func forRegistry(t *testing.T, prefix string) *registryImages {
	t.Helper()
	engineOfNodes(t)
	return throughRegistry(t, prefix)
}

// throughRegistry uses the engine of DOCKER_HOST.
func throughRegistry(t *testing.T, prefix string) *registryImages {
	t.Helper()
	images, err := (&App{}).images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inEngine := engineImages{images}
	return &registryImages{engineImages: inEngine, registry: image.Registry{Prefix: prefix}, pushed: map[string]pushedImage{}}
}

func TestAnImageThatNobodyMayPullIsNotLeftToTheNodes(t *testing.T) {
	var seen noted
	_, err := forRegistry(t, "registry.example/team").Ensure(t.Context(), "web:dev", model.PullNever, "", &seen)
	if err == nil || !strings.Contains(err.Error(), "never to be pulled") || !strings.Contains(problem.Hint(err), "docker pull web:dev") || strings.Contains(seen.text(), "pull it themselves") {
		t.Errorf("error %v, hint %q, said:\n%s", err, problem.Hint(err), seen.text())
	}

	seen = nil
	facts, err := forRegistry(t, "").Ensure(t.Context(), "web:dev", model.PullNever, "", &seen)
	if err != nil || facts.Ref != "web:dev" || !strings.Contains(seen.text(), "pods start where they have it already") {
		t.Errorf("without a registry: %+v, error %v, said:\n%s", facts, err, seen.text())
	}
}

// On a cluster of two platforms a service may run on nodes of one alone.
func TestImagesArePushedForThePlatformsThatTheyRunOn(t *testing.T) {
	both := []string{"linux/amd64", "linux/arm64"}
	r := &registryImages{registry: image.Registry{Prefix: "registry.example", Platforms: both}, pushed: map[string]pushedImage{}}
	var names []string
	for ref, platforms := range map[string][]string{"one:1": both, "two:1": {"linux/amd64"}, "three:1": both} {
		facts, err := r.named(model.ImageFacts{Ref: ref, ID: "sha256:0123456789abcdef"}, platforms)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, facts.Ref)
	}
	got := map[string][]string{}
	for _, b := range r.batches(append(names, "nobody:s")) {
		got[strings.Join(b.registry.Platforms, " ")] = slices.Sorted(slices.Values(b.refs))
	}
	want := map[string][]string{"linux/amd64 linux/arm64": {"one:1", "three:1"}, "linux/amd64": {"two:1"}}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v", got)
	}
}

func TestAnImageThatTheEngineCannotGetIsLeftToTheNodes(t *testing.T) {
	var seen noted
	facts, err := forRegistry(t, "registry.example/team").Ensure(t.Context(), "web:dev", model.PullMissing, "", &seen)
	if err != nil || facts.Ref != "web:dev" || !strings.Contains(seen.text(), "pull it themselves") {
		t.Errorf("%+v, error %v, said:\n%s", facts, err, seen.text())
	}
}

func TestTheEnginesCopyIsPushedWherePullPolicyForbidsToPull(t *testing.T) {
	for policy, want := range map[model.PullPolicy]string{
		model.PullMissing: "web:dev", // its own registry has it
		model.PullNever:   "registry.example/team/web:berth-0123456789ab",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/_ping"):
				w.Header().Set("Api-Version", "1.43")
			case strings.HasSuffix(r.URL.Path, "/images/web:dev/json"):
				fmt.Fprint(w, `{"Id":"sha256:0123456789abcdef","RepoTags":["web:dev"],"Os":"linux","Architecture":"amd64"}`)
			case strings.HasSuffix(r.URL.Path, "/distribution/web:dev/json"):
				fmt.Fprint(w, `{}`)
			default:
				http.Error(w, `{"message":"not here"}`, http.StatusNotFound)
			}
		}))
		t.Cleanup(server.Close)
		t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		facts, err := throughRegistry(t, "registry.example/team").Ensure(t.Context(), "web:dev", policy, "", progress.Discard)
		if err != nil || facts.Ref != want {
			t.Errorf("%s: pods use %q, want %q (%v)", policy, facts.Ref, want, err)
		}
	}
}
