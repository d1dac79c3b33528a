package cli

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/offline"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// A foreign is a kind cluster that berth did not create, a registry that its
// nodes pull from, and a project for them.
type foreign struct {
	engine   *docker.Client
	kube     *kube.Client
	cluster  string
	project  string
	dir      string
	registry string // host:port
	uploads  *atomic.Int64
	private  *atomic.Bool // the registry asks for credentials
}

// newForeign creates the cluster with kind itself, or uses the one that
// BERTH_TEST_FOREIGN names.
func newForeign(t *testing.T) *foreign {
	t.Helper()
	testneed.Long(t)
	testneed.Docker(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	f := &foreign{engine: engine, cluster: os.Getenv("BERTH_TEST_FOREIGN"), project: fmt.Sprintf("berth-foreign-%d", os.Getpid()), dir: t.TempDir()}
	if f.cluster == "" {
		f.cluster = f.project
		f.create(t)
	}
	if f.kube, err = kube.New("", "kind-"+f.cluster); err != nil {
		t.Fatal(err)
	}
	f.serveRegistry(t)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Dockerfile", "FROM busybox\nCOPY greeting /greeting\nCMD [\"sh\", \"-c\", \"while true; do cat /greeting; sleep 1; done\"]\n")
	write("greeting", "hello\n")
	write("compose.yaml", "name: "+f.project+`
services:
  web:
    build: .
    stop_grace_period: 1s
    ports: ["18300:8080"]
  idle:
    image: busybox
    stop_grace_period: 1s
    command: ["sh", "-c", "while true; do sleep 1; done"]
`)
	return f
}

// create runs kind, which knows nothing of berth.
func (f *foreign) create(t *testing.T) {
	t.Helper()
	kind := filepath.Join(t.TempDir(), "kind")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", kind, "sigs.k8s.io/kind").CombinedOutput(); err != nil {
		t.Fatalf("build kind: %v\n%s", err, out)
	}
	kit, err := offline.New(progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	nodeImage, _, err := kit.NodeImage()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "kubeconfig"))
	// Without it the kubelet refuses hosts with cgroup v1.
	config := filepath.Join(t.TempDir(), "kind.yaml")
	patch := "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nkubeadmConfigPatches:\n- |\n  kind: KubeletConfiguration\n  failCgroupV1: false\n"
	if err := os.WriteFile(config, []byte(patch), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"create", "cluster", "--name", f.cluster, "--config", config, "--wait", "3m"}
	if _, held, err := f.engine.InspectImage(t.Context(), nodeImage); err == nil && held {
		args = append(args, "--image", nodeImage)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, kind, "delete", "cluster", "--name", f.cluster).CombinedOutput(); err != nil {
			t.Errorf("kind delete: %v\n%s", err, out)
		}
	})
	if out, err := exec.CommandContext(t.Context(), kind, args...).CombinedOutput(); err != nil {
		t.Fatalf("kind create: %v\n%s", err, out)
	}
}

// serveRegistry serves a registry where this machine and the nodes reach it,
// and tells the nodes to speak plain HTTP to it.
func (f *foreign) serveRegistry(t *testing.T) {
	t.Helper()
	gateway, err := f.engine.Gateway(t.Context(), "kind")
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(gateway.String(), "0"))
	if err != nil {
		t.Skipf("needs an engine whose networks end on this machine: %v", err)
	}
	f.registry, f.uploads, f.private = l.Addr().String(), &atomic.Int64{}, &atomic.Bool{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.guard(w, r) {
			return
		}
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") {
			f.uploads.Add(1)
		}
		inner.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	containers, err := f.engine.Containers(t.Context(), "io.x-k8s.kind.cluster="+f.cluster)
	if err != nil || len(containers) == 0 {
		t.Fatalf("nodes of cluster %s: %v %v", f.cluster, containers, err)
	}
	dir := "/etc/containerd/certs.d/" + f.registry
	hosts := fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+f.registry, "http://"+f.registry)
	for _, c := range containers {
		status, err := f.engine.Exec(t.Context(), c.Name, []string{"sh", "-c", "mkdir -p " + dir + " && cat > " + dir + "/hosts.toml"}, strings.NewReader(hosts), nil, nil)
		if err != nil || status != 0 {
			t.Fatalf("tell node %s of the registry: %d %v", c.Name, status, err)
		}
	}
}

// berth runs a command line that must succeed.
func (f *foreign) berth(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, status := f.try(t, args...)
	if status != 0 {
		t.Fatalf("berth %s: status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout, stderr
}

func (f *foreign) try(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out, errOut safeBuffer
	s := Streams{In: strings.NewReader(""), Out: &out, Err: &errOut, Env: os.Environ(), Dir: f.dir}
	status = Main(ctx, s, append([]string{"--context", "kind-" + f.cluster, "--progress", "plain"}, args...))
	t.Logf("berth %s\n%s%s", strings.Join(args, " "), out.String(), errOut.String())
	return out.String(), errOut.String(), status
}

// TestProjectRunsOnAClusterThatBerthDidNotCreate takes a project through the
// ways images come to such a cluster.
func TestProjectRunsOnAClusterThatBerthDidNotCreate(t *testing.T) {
	f := newForeign(t)
	mine := f.premade(t)
	through := []string{"up", "--registry", f.registry + "/team", "--insecure-registry"}

	// Straight into the nodes at first: for an image that the kubelet has pulled
	// once, it asks a registry again whatever else it is called
	// (https://kubernetes.io/docs/concepts/containers/images/#ensureimagepullcredentialverification).
	f.berth(t, "up")
	f.imagesAre(t, f.project+"-web:berth-")
	f.berth(t, "down", "--volumes", "--rmi", "local")
	f.onlyMineIsLeft(t, mine)

	f.berth(t, through...)
	if n := f.uploads.Load(); n == 0 {
		t.Error("nothing was pushed")
	}
	f.imagesAre(t, f.registry+"/team/")
	if out, _ := f.berth(t, "logs", "--tail", "1", "web"); !strings.Contains(out, "hello") {
		t.Errorf("logs are %q", out)
	}
	if out, _ := f.berth(t, "exec", "web", "cat", "/greeting"); out != "hello\n" {
		t.Errorf("exec says %q", out)
	}

	f.uploads.Store(0)
	f.berth(t, through...)
	if n := f.uploads.Load(); n != 0 {
		t.Errorf("a second up sent %d blobs", n)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "greeting"), []byte("good day\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.berth(t, through...)
	if n := f.uploads.Load(); n != 2 { // the layer and the config
		t.Errorf("after a change %d blobs were sent", n)
	}
	if out, _ := f.berth(t, "exec", "web", "cat", "/greeting"); out != "good day\n" {
		t.Errorf("exec says %q", out)
	}

	if _, stderr, status := f.try(t, "up", "--registry", f.registry+"/team"); status == 0 || !strings.Contains(stderr, "--insecure-registry") {
		t.Errorf("an insecure registry that is not named so: status %d\n%s", status, stderr)
	}
	f.berth(t, "down", "--volumes", "--rmi", "local")
	f.onlyMineIsLeft(t, mine)

	f.hostRegistry(t)
	if _, stderr := f.berth(t, "up"); !strings.Contains(stderr, "the cluster names it") {
		t.Errorf("the cluster's own registry was not used:\n%s", stderr)
	}
	f.imagesAre(t, f.registry+"/")
	f.berth(t, "down", "--volumes", "--rmi", "local")
	f.unhostRegistry(t)

	f.pullsWithTheUsersCredentials(t)
	f.pullsOnTheNodes(t)
}

// premade is an object that a user keeps where the project goes.
func (f *foreign) premade(t *testing.T) model.ObjectKey {
	t.Helper()
	for _, o := range []model.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.project}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: f.project}, Data: map[string]string{"mine": "yes"}},
	} {
		m, err := f.kube.Manifest(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.kube.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = f.kube.Delete(context.WithoutCancel(t.Context()), model.ObjectKey{Kind: "Namespace", Name: f.project}, kube.DeleteOptions{})
	})
	return model.ObjectKey{Kind: "ConfigMap", Namespace: f.project, Name: "mine"}
}

func (f *foreign) onlyMineIsLeft(t *testing.T, mine model.ObjectKey) {
	t.Helper()
	if _, err := f.kube.GetAny(t.Context(), mine); err != nil {
		t.Errorf("down took %s: %v", mine, err)
	}
	var left []string
	pods, err := kube.List[corev1.Pod](t.Context(), f.kube, f.project, "")
	for _, p := range pods {
		left = append(left, "Pod/"+p.Name)
	}
	services, serviceErr := kube.List[corev1.Service](t.Context(), f.kube, f.project, "")
	for _, s := range services {
		left = append(left, "Service/"+s.Name)
	}
	maps, mapErr := kube.List[corev1.ConfigMap](t.Context(), f.kube, f.project, "")
	for _, m := range maps {
		if m.Name != mine.Name && m.Name != "kube-root-ca.crt" {
			left = append(left, "ConfigMap/"+m.Name)
		}
	}
	if err != nil || serviceErr != nil || mapErr != nil || len(left) > 0 {
		t.Errorf("left are %v (%v %v %v)", left, err, serviceErr, mapErr)
	}
}

func (f *foreign) imagesAre(t *testing.T, prefix string) {
	t.Helper()
	pods, err := kube.List[corev1.Pod](t.Context(), f.kube, f.project, model.LabelService+"=web")
	if err != nil || len(pods) == 0 {
		t.Fatalf("pods of web: %v %v", pods, err)
	}
	for _, p := range pods {
		if image := p.Spec.Containers[0].Image; p.DeletionTimestamp == nil && !strings.HasPrefix(image, prefix) {
			t.Errorf("the image of %s is %s, not below %s", p.Name, image, prefix)
		}
	}
}

// hostRegistry has the cluster say which registry it has, as KEP-1755 does.
func (f *foreign) hostRegistry(t *testing.T) {
	t.Helper()
	m, err := f.kube.Manifest(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "local-registry-hosting", Namespace: "kube-public"},
		Data:       map[string]string{"localRegistryHosting.v1": "host: " + f.registry + "\n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.kube.Apply(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func (f *foreign) unhostRegistry(t *testing.T) {
	t.Helper()
	key := model.ObjectKey{Kind: "ConfigMap", Namespace: "kube-public", Name: "local-registry-hosting"}
	if err := f.kube.Delete(t.Context(), key, kube.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
