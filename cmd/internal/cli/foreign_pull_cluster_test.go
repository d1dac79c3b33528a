package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// guard asks for credentials where the registry is private.
func (f *foreign) guard(w http.ResponseWriter, r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	if !f.private.Load() || user == "berth" && password == "secret" {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	return false
}

// pullsWithTheUsersCredentials has pods pull from a private registry: refused at
// first, then with --pull-secret, until an up without it.
func (f *foreign) pullsWithTheUsersCredentials(t *testing.T) {
	dir, before := t.TempDir(), config.Dir()
	text := fmt.Sprintf(`{"auths": {%q: {"auth": "YmVydGg6c2VjcmV0"}, "other.example": {"auth": "bWU6b3RoZXI="}}}`, f.registry)
	if err := os.WriteFile(filepath.Join(dir, config.ConfigFileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config.SetDir(dir)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Cleanup(func() { config.SetDir(before) })
	f.private.Store(true)
	defer f.private.Store(false)
	if err := os.WriteFile(filepath.Join(f.dir, "greeting"), []byte("a secret\n"), 0o600); err != nil { // an image that no node has
		t.Fatal(err)
	}

	through := []string{"up", "--registry", f.registry + "/private", "--insecure-registry"}
	if _, stderr, status := f.try(t, through...); status == 0 || !strings.Contains(stderr, "--pull-secret") {
		t.Errorf("without credentials: status %d\n%s", status, stderr)
	}
	if _, err := kube.Get[corev1.Secret](t.Context(), f.kube, f.project, translate.PullSecretName); !kube.IsNotFound(err) {
		t.Errorf("credentials that nobody asked to copy: %v", err)
	}
	if _, stderr := f.berth(t, append(through, "--pull-secret")...); !strings.Contains(stderr, "your credentials for "+f.registry+" go into the Secret") {
		t.Errorf("it does not say what it copies:\n%s", stderr)
	}
	secret, err := kube.Get[corev1.Secret](t.Context(), f.kube, f.project, translate.PullSecretName)
	if err != nil || strings.Contains(string(secret.Data[corev1.DockerConfigJsonKey]), "other.example") {
		t.Errorf("the secret is %s, %v", secret.Data, err)
	}
	f.berth(t, "down", "--volumes", "--rmi", "local")
	if _, err := kube.Get[corev1.Secret](t.Context(), f.kube, f.project, translate.PullSecretName); !kube.IsNotFound(err) {
		t.Errorf("down leaves the credentials: %v", err)
	}
}

// pullsOnTheNodes runs an image whose registry only the nodes know a way to: the
// engine would want TLS.
func (f *foreign) pullsOnTheNodes(t *testing.T) {
	images, err := image.New(f.engine, image.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := images.PushTo(t.Context(), []string{"busybox"}, image.Registry{Prefix: f.registry + "/nodes", Insecure: true}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("name: %s\nservices:\n  web:\n    image: %s\n    stop_grace_period: 1s\n    command: [sleep, infinity]\n", f.project, pushed["busybox"].Name)
	if err := os.WriteFile(filepath.Join(f.dir, "nodes.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := f.berth(t, "-f", "nodes.yaml", "up"); !strings.Contains(stderr, "on the nodes") {
		t.Errorf("it does not say who pulls:\n%s", stderr)
	}
	f.imagesAre(t, f.registry+"/nodes/")
	f.berth(t, "-f", "nodes.yaml", "down")
}
