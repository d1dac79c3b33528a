package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"

	"github.com/berth-dev/berth/infra/problem"
)

// fakeEngine answers pings, and says in its API version who it is.
func fakeEngine(version string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", version)
		if !strings.HasSuffix(r.URL.Path, "/_ping") {
			http.NotFound(w, r)
		}
	})
}

func onSocket(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: fakeEngine(version)}}
	server.Start()
	t.Cleanup(server.Close)
	return "unix://" + path
}

// storeContext writes a context as `docker context create` does.
func storeContext(t *testing.T, dir, name, endpoints string, pems map[string][]byte) {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	put := func(path string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(dir, "contexts", "meta", id, "meta.json"), []byte(fmt.Sprintf(`{"Name":%q,"Metadata":{},"Endpoints":%s}`, name, endpoints)))
	for file, data := range pems {
		put(filepath.Join(dir, "contexts", "tls", id, "docker", file), data)
	}
}

func TestEngineIsTheOneThatTheDockerCLIUses(t *testing.T) {
	dir := t.TempDir()
	before := config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(before) })
	byHost, byName, used := onSocket(t, "1.44"), onSocket(t, "1.45"), onSocket(t, "1.46")
	secure := httptest.NewTLSServer(fakeEngine("1.47"))
	t.Cleanup(secure.Close)
	tcp := "tcp://" + secure.Listener.Addr().String()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	storeContext(t, dir, "named", fmt.Sprintf(`{"docker":{"Host":%q,"SkipTLSVerify":false}}`, byName), nil)
	storeContext(t, dir, "used", fmt.Sprintf(`{"docker":{"Host":%q}}`, used), nil)
	storeContext(t, dir, "secure", fmt.Sprintf(`{"docker":{"Host":%q}}`, tcp), map[string][]byte{"ca.pem": ca})
	storeContext(t, dir, "strangers", fmt.Sprintf(`{"docker":{"Host":%q,"SkipTLSVerify":true}}`, tcp), nil)
	storeContext(t, dir, "cluster", `{"kubernetes":{"Host":"https://example.invalid"}}`, nil)
	if err := os.WriteFile(filepath.Join(dir, config.ConfigFileName), []byte(`{"currentContext":"used"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, host, context string
		want                string // API version of the engine that answers, or part of the error
	}{
		{"docker context use", "", "", "1.46"},
		{"DOCKER_CONTEXT before it", "", "named", "1.45"},
		{"DOCKER_HOST before both", byHost, "named", "1.44"},
		{"certificates", "", "secure", "1.47"},
		{"no check of certificates", "", "strangers", "1.47"},
		{"unknown", "", "none", "there is no such context"},
		{"no engine", "", "cluster", "it names no Docker Engine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", tt.host)
			t.Setenv("DOCKER_CONTEXT", tt.context)
			c, err := New(t.Context())
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || problem.Hint(err) == "" {
					t.Errorf("error is %v, hint %q", err, problem.Hint(err))
				}
				return
			}
			defer c.Close()
			if c.APIVersion() != tt.want {
				t.Errorf("the engine with API %s answers, want %s", c.APIVersion(), tt.want)
			}
		})
	}
}
