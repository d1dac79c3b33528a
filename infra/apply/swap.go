package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// annotationSwapping is on a Deployment whose pods are just being given other
// images in place, instead of annotationHash: the hash. Whoever finds it applies
// the Deployment again, which replaces the pods.
const annotationSwapping = "berth.dev/swapping"

// Nodes tells of containers what the API server learns up to a second later.
type Nodes interface {
	// Ports lists the TCP ports on which a container's programs listen.
	Ports(ctx context.Context, node, container string) ([]int, error)
	// AwaitSuccessor returns when another container than the one with the id not
	// runs in its place and listens on ports, or has ended at once.
	AwaitSuccessor(ctx context.Context, node, namespace, pod, container, not string, ports []int) error
}

// UseNodes lets Swap ask nodes; without them it does nothing.
func (p *Project) UseNodes(nodes Nodes) { p.nodes = nodes }

// Swap gives the running pods of a Deployment the images of its new definition
// in place: the kubelet starts the containers again in the sandboxes they have,
// which takes a third of the time that new pods take. It does so where the images
// are all that has changed, a half of the pods at a time, each drained before. The Deployment
// ends as if it had been applied, and no rollout follows. It reports why it did
// not, "" when it did.
//
// The Deployment is paused meanwhile, so that its controller makes no new pods
// of the new template; the ReplicaSet gets that template when all pods have it.
// A process that dies in between leaves a Deployment whose next Apply ends the
// pause and replaces the pods.
func (p *Project) Swap(ctx context.Context, deployment model.Object) (whyNot string, err error) {
	if p.nodes == nil {
		return "the nodes cannot be asked", nil
	}
	it := &item{object: deployment}
	if it.gk, err = p.client.KindOf(deployment); err != nil {
		return "", err
	}
	it.key = model.ObjectKey{Group: it.gk.Group, Kind: it.gk.Kind, Namespace: deployment.GetNamespace(), Name: deployment.GetName()}
	if err := p.render(ctx, it); err != nil {
		return "", err
	}
	s, whyNot, err := p.planSwap(ctx, it)
	if whyNot != "" || err != nil {
		return whyNot, err
	}
	what := fmt.Sprintf("swap the images of %s %q", it.key.Kind, it.key.Name)
	if err := s.run(ctx); err != nil {
		return "", problem.New(what, err, "")
	}
	return "", nil
}

// A swap is one Deployment whose pods get other images.
type swap struct {
	p       *Project
	it      *item
	hash    string
	rs      *appsv1.ReplicaSet
	pods    []corev1.Pod
	images  map[string]string // by container
	drains  []string          // names of kubeServices that leave out drained pods
	patient bool              // routers wait for pods that start again
	slowest time.Duration     // of the pods, from its new image to its programs listening
}

// planSwap looks at the cluster and says whether a swap is possible.
func (p *Project) planSwap(ctx context.Context, it *item) (*swap, string, error) {
	s := &swap{p: p, it: it, images: map[string]string{}}
	var d *appsv1.Deployment
	var sets []appsv1.ReplicaSet
	var all []corev1.Pod
	selector := model.LabelService + "=" + it.manifest.GetLabels()[model.LabelService]
	err := parallel(ctx, 5, func(ctx context.Context, i int) (err error) {
		switch i {
		case 0:
			if it.live, err = p.client.GetAny(ctx, it.key); err == nil {
				d, err = kube.As[appsv1.Deployment](it.live)
			}
		case 1:
			template, _, _ := unstructured.NestedStringMap(it.manifest.Object, "spec", "template", "metadata", "labels")
			s.drains, err = p.drainable(ctx, template)
		case 2:
			s.patient, err = p.patientlyServed(ctx, it.manifest.GetLabels()[model.LabelService])
		case 3:
			sets, err = kube.List[appsv1.ReplicaSet](ctx, p.client, it.key.Namespace, selector)
		case 4:
			all, err = kube.List[corev1.Pod](ctx, p.client, it.key.Namespace, selector)
		}
		return err
	})
	switch {
	case kube.IsNotFound(err):
		return nil, "it does not run yet", nil
	case err != nil:
		return nil, "", err
	}
	if whyNot := s.unlike(d); whyNot != "" {
		return nil, whyNot, nil
	}
	if s.rs = currentReplicaSet(sets, d); s.rs == nil {
		return nil, "a rollout is under way", nil
	}
	for _, pod := range all {
		if pod.DeletionTimestamp == nil && ownedBy(&pod, s.rs.UID) {
			s.pods = append(s.pods, pod)
		}
	}
	for _, pod := range s.pods {
		if pod.Status.Phase != corev1.PodRunning {
			return nil, fmt.Sprintf("pod %q does not run", pod.Name), nil
		}
	}
	if len(s.pods) != int(orOne(d.Spec.Replicas)) {
		return nil, "a rollout is under way", nil
	}
	return s, "", nil
}

// unlike says what of the definition, besides images, differs from what the
// live one was applied from; and notes the images.
func (s *swap) unlike(d *appsv1.Deployment) string {
	annotations := s.it.live.GetAnnotations()
	was := annotations[annotationHash]
	if was == "" {
		was = annotations[annotationSwapping]
	}
	s.hash = s.it.manifest.GetAnnotations()[annotationHash]
	if stopped(s.it.live) {
		return "the service is stopped"
	}
	before := s.it.manifest.DeepCopy()
	live := map[string]string{}
	for _, c := range slices.Concat(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers) {
		live[c.Name] = c.Image
	}
	changed, hook := false, false
	eachContainer(before, func(list string, c map[string]any) {
		name, _ := c["name"].(string)
		image, _ := c["image"].(string)
		if list == "containers" {
			s.images[name] = image
		}
		if live[name] != image {
			changed = true
			hook = hook || list == "initContainers" && !fillsVolume(c)
		}
		c["image"] = live[name]
	})
	own := before.GetAnnotations()
	delete(own, annotationHash)
	if len(own) == 0 {
		own = nil // the hash was made when there were none
	}
	before.SetAnnotations(own)
	if hash, err := hashOf(before); err != nil || hash != was {
		return "more than its image has changed"
	}
	switch {
	case !changed:
		return "its image is the same"
	case hook:
		return "a pre_start hook has a new image, and runs in new pods only"
	}
	return ""
}

// volumeFiller is the program of init containers that fill volumes. What they
// filled stays with the pod, as with compose anonymous volumes stay with a service
// that is built again.
const volumeFiller = "/.berth/agent"

// fillsVolume reports whether an init container is one of those, and not a hook
// of the user.
func fillsVolume(c map[string]any) bool {
	command, _ := c["command"].([]any)
	return len(command) > 0 && command[0] == volumeFiller
}

// eachContainer calls f for every container of a workload's template, as it
// stands there. Nothing is changed unless f does.
func eachContainer(workload *unstructured.Unstructured, f func(list string, c map[string]any)) {
	for _, list := range []string{"initContainers", "containers"} {
		field, _, _ := unstructured.NestedFieldNoCopy(workload.Object, "spec", "template", "spec", list)
		containers, _ := field.([]any)
		for _, c := range containers {
			if c, ok := c.(map[string]any); ok {
				f(list, c)
			}
		}
	}
}

// currentReplicaSet is the one ReplicaSet of a Deployment that has pods, nil
// when a rollout is under way.
func currentReplicaSet(sets []appsv1.ReplicaSet, d *appsv1.Deployment) *appsv1.ReplicaSet {
	var current *appsv1.ReplicaSet
	for i, rs := range sets {
		if !ownedBy(&rs, d.UID) || orOne(rs.Spec.Replicas) == 0 && rs.Status.Replicas == 0 {
			continue
		}
		if current != nil {
			return nil
		}
		current = &sets[i]
	}
	return current
}

// run carries out the swap.
func (s *swap) run(ctx context.Context) error {
	paused := whileSwapping(s.it.manifest, s.hash)
	if err := unstructured.SetNestedField(paused.Object, true, "spec", "paused"); err != nil {
		return err
	}
	if _, _, err := s.p.client.Apply(ctx, paused); err != nil {
		return err
	}
	if err := s.swapPods(ctx); err != nil {
		return err
	}
	s.p.swapTimes.Store(s.it.key, s.slowest)
	if err := s.patchReplicaSet(ctx); err != nil {
		return err
	}
	if err := s.stragglers(ctx); err != nil {
		return err
	}
	now, _, err := s.p.client.Apply(ctx, s.it.manifest)
	if err == nil {
		s.p.marks.set(s.it.key, now)
	}
	return err
}

// swapPods swaps all pods at once where routers wait for them, as long as they
// count as ready while no container runs and are known to start quickly. Otherwise
// it swaps a half of the pods and then the others, each half drained meanwhile where
// there is another to serve. A drained pod is never left so.
func (s *swap) swapPods(ctx context.Context) error {
	probed := slices.ContainsFunc(s.rs.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.ReadinessProbe != nil })
	if s.patient && !probed && s.p.startsQuickly(s.it.key) {
		return s.swapAll(ctx, s.pods)
	}
	half := (len(s.pods) + 1) / 2
	first, second := s.pods[:half], s.pods[half:]
	swap := s.swapAll
	drain := len(second) > 0 && len(s.drains) > 0
	if drain {
		swap = s.swapDrained
	}
	err := swap(ctx, first)
	if err == nil && drain {
		err = s.awaitEndpoints(ctx, first, true)
	}
	if err != nil {
		return err
	}
	return swap(ctx, second)
}

func (s *swap) swapAll(ctx context.Context, pods []corev1.Pod) error {
	took := make([]time.Duration, len(pods))
	err := parallel(ctx, len(pods), func(ctx context.Context, i int) error {
		begin := time.Now()
		err := s.swapPod(ctx, &pods[i])
		took[i] = time.Since(begin)
		return err
	})
	s.slowest = max(s.slowest, slices.Max(append(took, 0)))
	return err
}

// quickly is how long a pod may take to listen again when all pods of its service
// are swapped at once: routers wait for longer.
const quickly = 2 * time.Second

// startsQuickly reports whether the pods of a Deployment listened again quickly
// when they were swapped last.
func (p *Project) startsQuickly(key model.ObjectKey) bool {
	took, known := p.swapTimes.Load(key)
	return known && took.(time.Duration) < quickly
}

// swapPod gives one pod its images and waits until the new containers run.
func (s *swap) swapPod(ctx context.Context, pod *corev1.Pod) error {
	node := pod.Spec.NodeName
	var list []place
	for _, c := range pod.Status.ContainerStatuses {
		if containerImage(pod, c.Name) == s.images[c.Name] {
			continue
		}
		w := place{name: c.Name, id: containerID(c)}
		if ports, err := s.p.nodes.Ports(ctx, node, w.id); err == nil { // one that has crashed listens nowhere
			w.ports = ports
		}
		list = append(list, w)
	}
	if err := s.patchImages(ctx, model.ObjectKey{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}, false); err != nil {
		return err
	}
	return parallel(ctx, len(list), func(ctx context.Context, i int) error {
		w := list[i]
		err := s.awaitSuccessor(ctx, pod, w)
		if err != nil || !probed(pod, w.name) {
			return err
		}
		return s.awaitReady(ctx, pod, w.name, w.id)
	})
}

// awaitReady waits until the healthcheck of a new container succeeds, as long
// as Docker would before it calls it unhealthy. Whoever waits for the service
// afterwards says what is wrong.
func (s *swap) awaitReady(ctx context.Context, pod *corev1.Pod, name, before string) error {
	budget := healthBudget(pod, pod.Spec.Containers[slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })].ReadinessProbe)
	late := time.Now().Add(budget)
	return s.poll(ctx, func() (bool, error) {
		now, err := kube.Get[corev1.Pod](ctx, s.p.client, pod.Namespace, pod.Name)
		if err != nil {
			return false, err
		}
		for _, c := range now.Status.ContainerStatuses {
			if c.Name == name && containerID(c) != before && (c.Ready || c.State.Running == nil && lastEnd(c) != nil) {
				return true, nil
			}
		}
		return time.Now().After(late), nil
	})
}

// patchImages sets the images of a pod, or of a workload's template.
func (s *swap) patchImages(ctx context.Context, key model.ObjectKey, template bool) error {
	raw, err := imagesPatch(s.it.manifest, template)
	if err != nil {
		return err
	}
	return s.p.client.Patch(ctx, key, "", types.StrategicMergePatchType, raw)
}

// imagesPatch is the strategic merge patch by which pods, or with template a
// workload, get the images of a manifest. It is made for many pods at once.
func imagesPatch(manifest *unstructured.Unstructured, template bool) ([]byte, error) {
	lists := map[string]any{}
	eachContainer(manifest, func(list string, c map[string]any) {
		if list == "initContainers" && !template {
			return // they have run
		}
		entry := map[string]any{"name": c["name"], "image": c["image"]}
		have, _ := lists[list].([]any)
		lists[list] = append(have, entry)
	})
	change := map[string]any{"spec": lists}
	if template {
		change = map[string]any{"spec": map[string]any{"template": change}}
	}
	return json.Marshal(change)
}

func (s *swap) patchReplicaSet(ctx context.Context) error {
	return s.patchImages(ctx, model.ObjectKey{Group: "apps", Kind: "ReplicaSet", Namespace: s.rs.Namespace, Name: s.rs.Name}, true)
}

// stragglers gives pods their images that the ReplicaSet has made meanwhile
// from its old template.
func (s *swap) stragglers(ctx context.Context) error {
	pods, err := kube.List[corev1.Pod](ctx, s.p.client, s.rs.Namespace, model.LabelService+"="+s.it.manifest.GetLabels()[model.LabelService])
	if err != nil {
		return err
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || !ownedBy(&pod, s.rs.UID) {
			continue
		}
		old := slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Image != s.images[c.Name] })
		if !old {
			continue
		}
		if err := s.patchImages(ctx, model.ObjectKey{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}, false); err != nil && !kube.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// whileSwapping is a Deployment's manifest with the mark of a swap in place of its
// own hash.
func whileSwapping(manifest *unstructured.Unstructured, hash string) *unstructured.Unstructured {
	out := manifest.DeepCopy()
	annotations := maps.Clone(out.GetAnnotations())
	delete(annotations, annotationHash)
	annotations[annotationSwapping] = hash
	out.SetAnnotations(annotations)
	return out
}

// endSwap ends the pause of a Deployment whose swap was given up, and deletes the
// pods that its ReplicaSet of the definition now wanted would not look at: with
// other images than that has, or drained. The mark of the swap stays until the
// manifest is applied as it is, so that whoever is interrupted here begins anew.
func (p *Project) endSwap(ctx context.Context, it *item) error {
	hash := it.live.GetAnnotations()[annotationSwapping]
	if _, _, err := p.client.Apply(ctx, whileSwapping(it.manifest, hash)); err != nil {
		return err
	}
	d, err := kube.As[appsv1.Deployment](it.manifest)
	if err != nil {
		return err
	}
	selector := labels.SelectorFromSet(d.Spec.Selector.MatchLabels).String()
	sets, err := kube.List[appsv1.ReplicaSet](ctx, p.client, it.key.Namespace, selector)
	if err != nil {
		return err
	}
	pods, err := kube.List[corev1.Pod](ctx, p.client, it.key.Namespace, selector)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		current := slices.ContainsFunc(sets, func(rs appsv1.ReplicaSet) bool {
			return ownedBy(&pod, rs.UID) && sameImages(rs.Spec.Template.Spec, d.Spec.Template.Spec)
		})
		same := sameImages(pod.Spec, d.Spec.Template.Spec) && pod.Labels[model.LabelServes] == d.Spec.Template.Labels[model.LabelServes]
		if !current || same || pod.DeletionTimestamp != nil {
			continue
		}
		err := p.client.Delete(ctx, model.ObjectKey{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}, kube.DeleteOptions{})
		if err != nil && !kube.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// sameImages reports whether the containers of a pod have the images that are
// wanted.
func sameImages(pod, want corev1.PodSpec) bool {
	return !slices.ContainsFunc(want.Containers, func(c corev1.Container) bool {
		return !slices.ContainsFunc(pod.Containers, func(has corev1.Container) bool { return has.Name == c.Name && has.Image == c.Image })
	})
}

func containerImage(pod *corev1.Pod, name string) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == name {
			return c.Image
		}
	}
	return ""
}
