package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/testneed"
)

// testNode connects to a worker of the test cluster.
func testNode(t *testing.T) (*Node, *kube.Client) {
	t.Helper()
	cluster, context := testneed.Cluster(t)
	engine := testEngine(t)
	client, err := kube.New("", context)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Connect(t.Context(), engine, cluster+"-worker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, client
}

func testEngine(t *testing.T) *docker.Client {
	t.Helper()
	testneed.Docker(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	arch, err := engine.Arch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Binary(arch); err != nil {
		if os.Getenv("BERTH_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs the node agent (make agent): %v", err)
	}
	return engine
}

// testImage has the app, a file to replace and a folder to fill a volume with,
// whose name and content are this test's own.
func testImage(t *testing.T, engine *docker.Client, n *Node) ociImage {
	t.Helper()
	arch, err := engine.Arch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	base := tarOf(t, map[string][]byte{"app": buildApp(t, arch)}, []tar.Header{{Typeflag: tar.TypeReg, Name: "app", Mode: 0o755}})
	unique := fmt.Sprint(time.Now().UnixNano())
	top := tarOf(t, map[string][]byte{"src/main": []byte("old " + unique), "seed/data": []byte("seeded")}, []tar.Header{
		{Typeflag: tar.TypeDir, Name: "src", Mode: 0o755, Uid: 1000, Gid: 1000},
		{Typeflag: tar.TypeReg, Name: "src/main", Mode: 0o640, Uid: 1000, Gid: 1001},
		{Typeflag: tar.TypeDir, Name: "seed", Mode: 0o700, Uid: 1000, Gid: 1000},
		{Typeflag: tar.TypeReg, Name: "seed/data", Mode: 0o600, Uid: 1000, Gid: 1000},
		{Typeflag: tar.TypeDir, Name: "data", Mode: 0o755},
	})
	i := ociImage{name: "docker.io/berth.test/agent:" + unique, layers: [][]byte{base, top}, arch: arch}
	t.Cleanup(func() {
		if err := onNode(context.Background(), engine, n, nil, "rm", i.name); err != nil {
			t.Error(err)
		}
	})
	return i
}

// pod is a supervised program whose root is read-only and whose user is not root,
// with a volume that is filled from the image first.
const pod = `
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: NAMESPACE}
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 5
  automountServiceAccountToken: false
  initContainers:
  - name: fill
    image: IMAGE
    imagePullPolicy: Never
    command: [/.berth/agent, copy-volume, /seed, /.volume]
    securityContext: {runAsUser: 0}
    volumeMounts: [{name: berth, mountPath: /.berth, readOnly: true}, {name: data, mountPath: /.volume}]
  containers:
  - name: app
    image: IMAGE
    imagePullPolicy: Never
    command: [/.berth/init, --grace, 2s, --, /app, /src/main, /src/new/file, /data/data, /data/more]
    securityContext: {runAsUser: 1000, runAsGroup: 1001, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: berth, mountPath: /.berth, readOnly: true}, {name: data, mountPath: /data}]
  volumes:
  - {name: berth, hostPath: {path: /usr/local/lib/berth, type: Directory}}
  - {name: data, emptyDir: {}}
`

func create(t *testing.T, c *kube.Client, manifest string) {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
}

// namespace makes a namespace that goes with the test.
func namespace(t *testing.T, c *kube.Client) string {
	t.Helper()
	name := fmt.Sprintf("agent-test-%d", time.Now().UnixNano())
	create(t, c, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	t.Cleanup(func() {
		if err := c.Delete(context.Background(), model.ObjectKey{Kind: "Namespace", Name: name}, kube.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return name
}

// running waits for the pod's container and returns its containerd id.
func running(t *testing.T, c *kube.Client, namespace string) string {
	t.Helper()
	var last *corev1.Pod
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		p, err := kube.Get[corev1.Pod](t.Context(), c, namespace, "app")
		if err == nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Running != nil {
			return strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
		}
		last = p
	}
	t.Fatalf("the pod does not run: %+v", last.Status)
	return ""
}

func TestSupervisedPod(t *testing.T) {
	n, c := testNode(t)
	engine := testEngine(t)
	i := testImage(t, engine, n)
	if err := onNode(t.Context(), engine, n, bytes.NewReader(i.layout(t)), "import", "--platform", "linux/"+i.arch, "-"); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	create(t, c, strings.NewReplacer("NAMESPACE", ns, "NODE", n.Name(), "IMAGE", i.name).Replace(pod))
	id := running(t, c, ns)
	logShows := func(want string) string {
		t.Helper()
		var out bytes.Buffer
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			out.Reset()
			if err := n.Log(t.Context(), id, -1, false, &out); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), want) {
				return out.String()
			}
		}
		t.Fatalf("the log never shows %q:\n%s", want, out.String())
		return ""
	}
	log := logShows("up")
	for _, want := range []string{"/src/main -rw-r----- 1000:1001 old ", "/src/new/file missing", "/data/data -rw------- 1000:1000 seeded", "/data/more missing"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not show %q:\n%s", want, log)
		}
	}

	dir := t.TempDir()
	files := []model.FileSync{}
	for target, text := range map[string]string{"/src/main": "new", "/src/new/file": "made", "/data/more": "in the volume"} {
		source := filepath.Join(dir, filepath.Base(target))
		if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, model.FileSync{Source: source, Target: target, Op: model.FileWritten})
	}
	files = append(files, model.FileSync{Target: "/data/data", Op: model.FileRemoved},
		model.FileSync{Source: filepath.Join(dir, "vanished"), Target: "/src/vanished", Op: model.FileWritten})
	begin := time.Now()
	if err := n.Sync(t.Context(), id, files); err != nil {
		t.Fatal(err)
	}
	synced := time.Since(begin)
	p, err := n.Restart(t.Context(), id)
	t.Logf("synced %d files in %s, restarted %s later", len(files), synced, time.Since(begin)-synced)
	if err != nil || !p.Running || p.Starts != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	log = logShows("/data/more -rw-r--r--")
	for _, want := range []string{"/src/main -rw-r----- 1000:1001 new", "/src/new/file -rw-r--r-- 1000:1000 made", "/data/data missing", "down"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not show %q:\n%s", want, log)
		}
	}
	if running(t, c, ns) != id {
		t.Error("it is another container")
	}
	if err := n.Sync(t.Context(), id, []model.FileSync{{Source: dir, Target: "/proc/sys/berth", Op: model.FileWritten}}); err == nil {
		t.Error("a file system of the kernel was written")
	}
	if err := n.Sync(t.Context(), strings.Repeat("0", 64), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a container that is not there: %v", err)
	}
}

func TestContainerWithoutSupervisorSaysSo(t *testing.T) {
	n, c := testNode(t)
	pods, err := kube.List[corev1.Pod](t.Context(), c, "kube-system", "k8s-app=kube-proxy")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Spec.NodeName == n.Name() {
			id := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
			if _, err := n.Restart(t.Context(), id); !errors.Is(err, ErrNoSupervisor) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
	t.Fatal("no kube-proxy on the node")
}

func TestWarmConnect(t *testing.T) {
	n, _ := testNode(t)
	begin := time.Now()
	again, err := Connect(t.Context(), testEngine(t), n.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("connected in %s", time.Since(begin))
	begin = time.Now()
	if err := again.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("ping in %s", time.Since(begin))
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := again.Ping(t.Context()); err == nil {
		t.Error("a closed agent answers")
	}
}
