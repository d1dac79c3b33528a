package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An engine with a cluster of nodes in the given states, and no image.
func engineOfNodes(t *testing.T, states ...string) {
	t.Helper()
	var nodes []string
	for n, state := range states {
		nodes = append(nodes, fmt.Sprintf(`{"Names":["/node%d"],"State":%q,"Labels":{"io.x-k8s.kind.cluster":"c","io.x-k8s.kind.role":"worker"}}`, n, state))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.43")
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			fmt.Fprintf(w, "[%s]", strings.Join(nodes, ","))
		case strings.HasSuffix(r.URL.Path, "/version"), strings.HasSuffix(r.URL.Path, "/info"):
			fmt.Fprint(w, `{"Arch":"amd64","Architecture":"x86_64"}`)
		default:
			http.Error(w, `{"message":"not here"}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func TestLoadSaysWhichNodesAreStopped(t *testing.T) {
	for _, c := range []struct {
		name   string
		states []string
		args   []string
		want   string
	}{
		{"one of two", []string{"running", "exited"}, nil, `stopped nodes of cluster "c" get nothing: node1`},
		{"the one asked for", []string{"running", "exited"}, []string{"--nodes", "node1"}, "node \"node1\" does not run\nTry: `docker start node1`"},
		{"all", []string{"exited", "exited"}, nil, "no node of kind cluster \"c\" runs\nTry: docker start node0 node1"},
		{"there is none", nil, []string{"--cluster", "c"}, `the engine has no node of a kind cluster "c"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			engineOfNodes(t, c.states...)
			var out, errOut safeBuffer
			s := Streams{In: strings.NewReader(""), Out: &out, Err: &errOut, Dir: t.TempDir()}
			status := Main(t.Context(), s, append([]string{"--progress", "plain", "load", "web:dev"}, c.args...))
			if status != 1 || !strings.Contains(errOut.String(), c.want) {
				t.Errorf("status %d: %s", status, errOut.String())
			}
		})
	}
}
