package apply

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// apiNodes knows of containers what the API server knows, when it does.
type apiNodes struct{ client *kube.Client }

func (apiNodes) Ports(context.Context, string, string) ([]int, error) { return nil, nil }

func (n apiNodes) AwaitSuccessor(ctx context.Context, _, namespace, pod, container, not string, _ []int) error {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		p, err := kube.Get[corev1.Pod](ctx, n.client, namespace, pod)
		if err != nil {
			return err
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.Name == container && c.State.Running != nil && containerID(c) != not {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// otherName is another name of the same image, which the kubelet takes for
// another image.
func otherName(t *testing.T, image string) string {
	t.Helper()
	short, ok := strings.CutPrefix(image, "docker.io/")
	if !ok {
		t.Skipf("needs cluster: image %q has no shorter name", image)
	}
	return short
}

// TestImagesPatchLeavesTheManifestAlone, which pods that are swapped at the same
// time share.
func TestImagesPatchLeavesTheManifestAlone(t *testing.T) {
	containers := []any{map[string]any{"name": "web", "image": "web:2", "env": []any{}}}
	spec := map[string]any{"initContainers": []any{map[string]any{"name": "hook", "image": "hook:2"}}, "containers": containers}
	manifest := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{"spec": spec}}}}
	for template, want := range map[bool]string{
		false: `{"spec":{"containers":[{"image":"web:2","name":"web"}]}}`,
		true:  `{"spec":{"template":{"spec":{"containers":[{"image":"web:2","name":"web"}],"initContainers":[{"image":"hook:2","name":"hook"}]}}}}`,
	} {
		if got, err := imagesPatch(manifest, template); err != nil || string(got) != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if now := spec["containers"].([]any); &now[0] != &containers[0] {
		t.Error("the manifest's containers were written")
	}
}

func TestSwapKeepsPodsAndReplicaSet(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-swap-%d", os.Getpid()))
	l.UseNodes(apiNodes{client})
	ctx := withTimeout(t, 2*time.Minute)
	web := func(image, script string) *appsv1.Deployment {
		return l.shell("web", script, func(d *appsv1.Deployment) {
			n := int32(2)
			d.Spec.Replicas = &n
			d.Spec.Template.Labels = maps.Clone(d.Spec.Template.Labels) // the selector has the same
			d.Spec.Template.Labels[model.LabelServes] = "true"
		}, container(func(c *corev1.Container) { c.Image = image }))
	}
	drained := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "web-ready"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{model.LabelService: "web", model.LabelServes: "true"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	script := "trap 'exit 0' TERM; while :; do sleep 0.1; done"
	swap := func(d *appsv1.Deployment) string {
		t.Helper()
		whyNot, err := l.Swap(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		return whyNot
	}
	first := web(l.image, script)
	if whyNot := swap(first); whyNot != "it does not run yet" {
		t.Errorf("before there is one: %q", whyNot)
	}
	if _, err := l.Apply(ctx, []model.Object{drained, first}); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
		t.Fatal(err)
	}
	before := podsByName(t, l, ctx)
	if whyNot := swap(web(l.image, script)); whyNot != "its image is the same" {
		t.Errorf("the same: %q", whyNot)
	}
	if whyNot := swap(web(otherName(t, l.image), script+" # another")); whyNot != "more than its image has changed" {
		t.Errorf("another command: %q", whyNot)
	}
	second := web(otherName(t, l.image), script)
	begin := time.Now()
	if whyNot := swap(second); whyNot != "" {
		t.Fatalf("not swapped: %s", whyNot)
	}
	t.Logf("swapped in %s", time.Since(begin))
	changes, err := l.Apply(ctx, []model.Object{second})
	if err != nil || changes.Changed() {
		t.Errorf("an apply afterwards: %v, %v", changes, err)
	}
	if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
		t.Fatal(err)
	}
	after := podsByName(t, l, ctx)
	if len(after) != 2 {
		t.Errorf("%d pods after the swap", len(after))
	}
	for name, pod := range after {
		if _, same := before[name]; !same || pod.Spec.Containers[0].Image != otherName(t, l.image) || pod.Labels[model.LabelServes] != "true" {
			t.Errorf("pod %s: there before %t, image %s, labels %v", name, same, pod.Spec.Containers[0].Image, pod.Labels)
		}
	}
	oneReplicaSet(t, l, ctx)
}

// A hook is the user's, and compose runs it before every new container; a volume
// is filled once.
func TestSwapLeavesHooksToNewPods(t *testing.T) {
	manifest := func(image string, command ...any) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
			"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
				"initContainers": []any{map[string]any{"name": "first", "image": image, "command": command}},
				"containers":     []any{map[string]any{"name": "web", "image": image}},
			}}},
		}}
		hash, err := hashOf(u)
		if err != nil {
			t.Fatal(err)
		}
		u.SetAnnotations(map[string]string{annotationHash: hash})
		return u
	}
	for _, c := range []struct {
		command []any
		whyNot  string
	}{
		{[]any{"./migrate", "up"}, "a pre_start hook has a new image, and runs in new pods only"},
		{[]any{volumeFiller, "copy-volume", "/data", "/.berth-volume"}, ""},
	} {
		live := manifest("web:1", c.command...)
		d, err := kube.As[appsv1.Deployment](live)
		if err != nil {
			t.Fatal(err)
		}
		s := &swap{it: &item{live: live, manifest: manifest("web:2", c.command...)}, images: map[string]string{}}
		if whyNot := s.unlike(d); whyNot != c.whyNot {
			t.Errorf("%v: %q, want %q", c.command, whyNot, c.whyNot)
		}
	}
}

// Pods go one after the other until they are known to start quickly, and all at
// once behind an ingress that waits for them.
func TestSwapAtOnceBehindAPatientIngress(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-atonce-%d", os.Getpid()))
	nodes := &countingNodes{apiNodes: apiNodes{client}}
	l.UseNodes(nodes)
	ctx := withTimeout(t, 2*time.Minute)
	name := l.Namespace()
	class := &networkingv1.IngressClass{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IngressClass"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotationPatient: "true"}}, Spec: networkingv1.IngressClassSpec{Controller: "example.org/none"}}
	ingress := &networkingv1.Ingress{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{model.LabelService: "web"}},
		Spec: networkingv1.IngressSpec{IngressClassName: &name, DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}
	web := func(image string) *appsv1.Deployment {
		return l.shell("web", "trap 'exit 0' TERM; while :; do sleep 0.1; done", func(d *appsv1.Deployment) {
			n := int32(2)
			d.Spec.Replicas = &n
		}, container(func(c *corev1.Container) { c.Image = image }))
	}
	t.Cleanup(func() {
		if err := client.Delete(context.Background(), model.ObjectKey{Group: "networking.k8s.io", Kind: "IngressClass", Name: name}, kube.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	if _, err := l.Apply(ctx, []model.Object{class, ingress, web(l.image)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
		t.Fatal(err)
	}
	other := otherName(t, l.image)
	for _, c := range []struct {
		image string
		took  time.Duration // how long the pods are said to have taken the last time; 0: as long as they did
		most  int           // pods at a time
	}{{other, 0, 1}, {l.image, time.Millisecond, 2}, {other, quickly, 1}} {
		if c.took > 0 {
			l.swapTimes.Store(model.ObjectKey{Group: "apps", Kind: "Deployment", Namespace: name, Name: "web"}, c.took)
		}
		nodes.most.Store(0)
		if whyNot, err := l.Swap(ctx, web(c.image)); whyNot != "" || err != nil {
			t.Fatalf("not swapped: %q, %v", whyNot, err)
		}
		if got := int(nodes.most.Load()); got != c.most {
			t.Errorf("%d pods at a time when they took %s before, want %d", got, c.took, c.most)
		}
	}
}

// countingNodes notes how many pods are waited for at a time.
type countingNodes struct {
	apiNodes
	now, most atomic.Int64
}

func (n *countingNodes) AwaitSuccessor(ctx context.Context, node, namespace, pod, container, not string, ports []int) error {
	now := n.now.Add(1)
	defer n.now.Add(-1)
	for was := n.most.Load(); was < now && !n.most.CompareAndSwap(was, now); was = n.most.Load() {
	}
	return n.apiNodes.AwaitSuccessor(ctx, node, namespace, pod, container, not, ports)
}

// A swap that is given up half way leaves what the next apply puts right, be it
// of the new definition or of the one before, whose ReplicaSet has never changed.
func TestApplyEndsAnInterruptedSwap(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ patched, back bool }{
		"before a pod has the image, then applied":    {false, false},
		"when a pod has the image, then applied":      {true, false},
		"when a pod has the image, then taken back":   {true, true},
		"before a pod has the image, then taken back": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, client, fmt.Sprintf("berth-halfswap-%d-%t-%t", os.Getpid(), c.patched, c.back))
			ctx := withTimeout(t, 2*time.Minute)
			script := "trap 'exit 0' TERM; while :; do sleep 0.1; done"
			first := l.shell("web", script)
			if _, err := l.Apply(ctx, []model.Object{first}); err != nil {
				t.Fatal(err)
			}
			if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
				t.Fatal(err)
			}
			next := l.shell("web", script, container(func(c *corev1.Container) { c.Image = otherName(t, l.image) }))
			broken, give := context.WithCancel(ctx)
			l.UseNodes(brokenNodes{give, c.patched})
			if _, err := l.Swap(broken, next); err == nil {
				t.Fatal("the swap went on")
			}
			last, image := next, otherName(t, l.image)
			if c.back {
				last, image = first, l.image
			}
			if _, err := l.Apply(ctx, []model.Object{last}); err != nil {
				t.Fatal(err)
			}
			if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
				t.Fatal(err)
			}
			d, err := kube.Get[appsv1.Deployment](ctx, client, l.Namespace(), "web")
			if err != nil || d.Spec.Paused || d.Annotations[annotationSwapping] != "" {
				t.Errorf("paused %t, %v, %v", d.Spec.Paused, d.Annotations, err)
			}
			for name, pod := range podsByName(t, l, ctx) {
				if pod.Spec.Containers[0].Image != image {
					t.Errorf("pod %s runs %s", name, pod.Spec.Containers[0].Image)
				}
			}
		})
	}
}

// A container that cannot be started has no successor that a node could tell of.
func TestSwapEndsWhenTheNewContainerCannotStart(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-noswap-%d", os.Getpid()))
	l.UseNodes(apiNodes{client})
	ctx := withTimeout(t, time.Minute)
	script := "trap 'exit 0' TERM; while :; do sleep 0.1; done"
	if _, err := l.Apply(ctx, []model.Object{l.shell("web", script)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(ctx, "web", model.WaitServing, progress.Discard); err != nil {
		t.Fatal(err)
	}
	next := l.shell("web", script, container(func(c *corev1.Container) { c.Image = "berth.invalid/none:1" }))
	if _, err := l.Swap(ctx, next); err == nil || !strings.Contains(err.Error(), `"berth.invalid/none:1"`) {
		t.Errorf("got %v", err)
	}
}

// brokenNodes give up the swap before a pod has the new image, or after.
type brokenNodes struct {
	give    context.CancelFunc
	patched bool
}

func (n brokenNodes) Ports(ctx context.Context, _, _ string) ([]int, error) {
	if !n.patched {
		n.give()
	}
	return nil, ctx.Err()
}

func (n brokenNodes) AwaitSuccessor(ctx context.Context, _, _, _, _, _ string, _ []int) error {
	n.give()
	<-ctx.Done()
	return ctx.Err()
}

func podsByName(t *testing.T, l lab, ctx context.Context) map[string]corev1.Pod {
	t.Helper()
	list, err := kube.List[corev1.Pod](ctx, l.client, l.Namespace(), model.LabelService+"=web")
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]corev1.Pod{}
	for _, p := range list {
		if p.DeletionTimestamp == nil {
			pods[p.Name] = p
		}
	}
	return pods
}

func oneReplicaSet(t *testing.T, l lab, ctx context.Context) {
	t.Helper()
	sets, err := kube.List[appsv1.ReplicaSet](ctx, l.client, l.Namespace(), model.LabelService+"=web")
	if err != nil || len(sets) != 1 {
		t.Errorf("%d ReplicaSets, %v: a rollout followed", len(sets), err)
	}
}
