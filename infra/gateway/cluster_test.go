package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// workload is two pods behind a Service that answers over TCP and UDP.
const workload = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: tcp, port: 30080, protocol: TCP}
  - {name: udp, port: 30080, protocol: UDP}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: IMAGE
        imagePullPolicy: Never
        command: [/nodeserver, "30080"]
        readinessProbe: {tcpSocket: {port: 30080}, periodSeconds: 1}
`

// realCluster has the workload in a namespace of its own.
type realCluster struct {
	fakeCluster
	kube      *kube.Client
	namespace string
}

func newRealCluster(t *testing.T) *realCluster {
	t.Helper()
	name, kubeContext := testneed.Cluster(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	needAgent(t, engine)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	c := &realCluster{fakeCluster: fakeCluster{engine: engine, name: name}, kube: client, namespace: fmt.Sprintf("gateway-test-%d", time.Now().UnixNano())}
	importNodeServer(t, engine)
	c.load(t)
	c.create(t, "{apiVersion: v1, kind: Namespace, metadata: {name: NAMESPACE}}")
	t.Cleanup(func() {
		key := model.ObjectKey{Kind: "Namespace", Name: c.namespace}
		if err := client.Delete(context.Background(), key, kube.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	for _, manifest := range strings.Split(workload, "---") {
		c.create(t, manifest)
	}
	return c
}

// load brings the server's image to the nodes, and away again.
func (c *realCluster) load(t *testing.T) {
	t.Helper()
	images, err := image.New(c.engine, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := image.NodesOf(t.Context(), c.engine, c.name)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []image.Node
	for _, n := range found {
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range found {
			n.Close()
		}
	})
	if _, err := images.Load(t.Context(), []string{fakeImage}, nodes, progress.Discard); err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) create(t *testing.T, manifest string) {
	t.Helper()
	var u unstructured.Unstructured
	manifest = strings.NewReplacer("NAMESPACE", c.namespace, "IMAGE", fakeImage).Replace(manifest)
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := c.kube.Create(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) readyPods(t *testing.T, n int) []corev1.Pod {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		pods, err := kube.List[corev1.Pod](t.Context(), c.kube, c.namespace, "app=web")
		if err != nil {
			t.Fatal(err)
		}
		ready := slices.DeleteFunc(pods, func(p corev1.Pod) bool {
			return p.DeletionTimestamp != nil || !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		})
		if len(ready) == n {
			return ready
		}
	}
	t.Fatalf("there are not %d ready pods", n)
	return nil
}

func (c *realCluster) routes(t *testing.T) []Route {
	t.Helper()
	service, err := kube.Get[corev1.Service](t.Context(), c.kube, c.namespace, "web")
	if err != nil {
		t.Fatal(err)
	}
	var routes []Route
	for _, p := range service.Spec.Ports {
		r := route("web", "", 0, 0, int(p.Port), strings.ToLower(string(p.Protocol)))
		r.NodePort = int(p.NodePort)
		routes = append(routes, r)
	}
	return routes
}

func TestGatewayOfARealCluster(t *testing.T) {
	c := newRealCluster(t)
	project := c.namespace
	t.Cleanup(func() {
		if err := New(c.engine).Remove(context.Background(), c.name, project); err != nil {
			t.Error(err)
		}
	})
	c.readyPods(t, 2)
	begin := time.Now()
	ports := c.publish(t, project, c.routes(t)...)
	t.Logf("published in %s", time.Since(begin))

	// One datagram and one connection at once, without another try: as soon as
	// Publish has returned the way is there.
	if got, err := shout(address(ports[1]), "hello"); err != nil || !strings.HasSuffix(got, " hello") {
		t.Errorf("udp: %q, %v", got, err)
	}
	if got, err := greet(address(ports[0])); err != nil || !strings.HasPrefix(got, "web-") {
		t.Errorf("tcp: %q, %v", got, err)
	}
	// A pod that has just become ready is known to the nodes a moment later; no
	// request may fail meanwhile.
	seen := map[string]bool{}
	for late := time.Now().Add(10 * time.Second); len(seen) < 2 && time.Now().Before(late); {
		got, err := greet(address(ports[0]))
		if err != nil {
			t.Fatal(err)
		}
		seen[got] = true
	}
	if len(seen) != 2 {
		t.Errorf("answers came from %v, want both pods", seen)
	}

	t.Run("all pods are replaced at once", func(t *testing.T) {
		for range 3 {
			c.survivesReplacement(t, ports)
		}
	})
	t.Run("all pods are replaced at once, again and again", func(t *testing.T) {
		testneed.Long(t)
		for range 20 {
			c.survivesReplacement(t, ports)
		}
	})
	for _, p := range c.readyPods(t, 2) {
		if p.Status.ContainerStatuses[0].RestartCount > 0 {
			t.Errorf("pod %s ended: it got a datagram that no client sent", p.Name)
		}
	}
}

// survivesReplacement replaces all pods. As soon as the old ones are gone and
// the new ones ready, the first connection and the first datagram must arrive,
// although every node's kube-proxy goes on leading to the old ones for a while.
func (c *realCluster) survivesReplacement(t *testing.T, ports []model.PublishedPort) {
	t.Helper()
	old := c.readyPods(t, 2)
	for _, p := range old {
		key := model.ObjectKey{Kind: "Pod", Namespace: c.namespace, Name: p.Name}
		if err := c.kube.Delete(t.Context(), key, kube.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.gone(t, old)
	c.readyPods(t, 2)
	begin := time.Now()
	got, err := greet(address(ports[0]))
	tcp := time.Since(begin)
	isOld := slices.ContainsFunc(old, func(p corev1.Pod) bool { return strings.HasPrefix(got, p.Name) })
	if err != nil || isOld || tcp > 3*time.Second {
		t.Errorf("tcp: %q, %v after %s", got, err, tcp)
	}
	begin = time.Now()
	got, err = shout(address(ports[1]), "hello again")
	udp := time.Since(begin)
	if err != nil || !strings.HasSuffix(got, " hello again") || udp > 3*time.Second {
		t.Errorf("udp: %q, %v after %s", got, err, udp)
	}
	t.Logf("answered over TCP after %s, over UDP after %s", tcp, udp)
}

// gone waits until the API server has forgotten pods.
func (c *realCluster) gone(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		left := slices.ContainsFunc(pods, func(p corev1.Pod) bool {
			now, err := kube.Get[corev1.Pod](t.Context(), c.kube, c.namespace, p.Name)
			return !kube.IsNotFound(err) && (err != nil || now.UID == p.UID)
		})
		if !left {
			return
		}
	}
	t.Fatal("the old pods are still there")
}

func TestServiceWithoutPodsResetsItsClients(t *testing.T) {
	c := newRealCluster(t)
	project := c.namespace
	t.Cleanup(func() {
		if err := New(c.engine).Remove(context.Background(), c.name, project); err != nil {
			t.Error(err)
		}
	})
	c.readyPods(t, 2) // a Deployment that goes before it has made its pods may make them all the same
	key := model.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: c.namespace, Name: "web"}
	if err := c.kube.Delete(t.Context(), key, kube.DeleteOptions{Foreground: true}); err != nil {
		t.Fatal(err)
	}
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C { // its pods go first
		if _, err := c.kube.GetAny(t.Context(), key); kube.IsNotFound(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	ports := c.publish(t, project, c.routes(t)...)
	conn, err := net.Dial("tcp", address(ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	begin := time.Now()
	if raw, err := io.ReadAll(conn); len(raw) > 0 || time.Since(begin) > 15*time.Second {
		t.Errorf("%q, %v after %s", raw, err, time.Since(begin))
	}
}
