package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// stoppedSelector keeps the pods of a stopped DaemonSet from every node.
const stoppedSelector = "berth.dev/stopped"

// workloadKinds are the kinds that run a service's pods.
func workloadKinds() []schema.GroupKind {
	return []schema.GroupKind{
		{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"},
		{Group: "apps", Kind: "DaemonSet"}, {Group: "batch", Kind: "Job"}, {Group: "batch", Kind: "CronJob"},
	}
}

// errNoWorkload is a service that the cluster does not have.
var errNoWorkload = errors.New("nothing runs it")

// workloads returns the workloads of a service; none is an error.
func (p *Project) workloads(ctx context.Context, service string) ([]*unstructured.Unstructured, error) {
	all, err := p.workloadsBy(ctx, model.LabelService+"="+service+","+LabelOneOff+"!=True")
	if err != nil {
		return nil, err
	}
	if len(all) == 0 { // it may share the pods of another
		others, err := p.workloadsBy(ctx, model.LabelService+","+LabelOneOff+"!=True")
		if err != nil {
			return nil, err
		}
		for _, w := range others {
			annotations, _, _ := unstructured.NestedStringMap(w.Object, "spec", "template", "metadata", "annotations")
			if carries(annotations, service) {
				all = append(all, w)
			}
		}
	}
	if len(all) == 0 {
		return nil, problem.New(fmt.Sprintf("find service %q in namespace %q", service, p.namespace), errNoWorkload,
			"`berth ps --services` lists what runs; `berth up` starts the project")
	}
	return all, nil
}

// workloadsBy lists the workloads that a label selector chooses and that are
// not being deleted.
func (p *Project) workloadsBy(ctx context.Context, selector string) ([]*unstructured.Unstructured, error) {
	kinds := workloadKinds()
	found := make([][]*unstructured.Unstructured, len(kinds))
	err := parallel(ctx, len(kinds), func(ctx context.Context, i int) error {
		var err error
		found[i], err = p.client.ListAny(ctx, kinds[i], p.namespace, selector)
		return err
	})
	return slices.DeleteFunc(slices.Concat(found...), func(w *unstructured.Unstructured) bool {
		return w.GetDeletionTimestamp() != nil || metav1.GetControllerOf(w) != nil // runs of a CronJob go with it
	}), err
}

// patch sends a merge patch to a workload.
func (p *Project) patch(ctx context.Context, key model.ObjectKey, change map[string]any) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("change %s %q", key.Kind, key.Name)
	if err := p.client.Patch(ctx, key, "", types.MergePatchType, raw); err != nil {
		return problem.New(what, err, "")
	}
	now, err := p.client.GetAny(ctx, key)
	if err != nil {
		return problem.New(what, err, "")
	}
	p.marks.set(key, now)
	return nil
}

func replicasOf(w *unstructured.Unstructured) int64 {
	n, found, _ := unstructured.NestedInt64(w.Object, "spec", "replicas")
	if !found {
		return 1
	}
	return n
}

// Scale sets how many pods a service has, until the project is applied again.
func (p *Project) Scale(ctx context.Context, service string, replicas int) error {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		key := keyOf(w)
		switch key.Kind {
		case "Deployment", "StatefulSet":
			change := map[string]any{
				"metadata": map[string]any{"annotations": unmarked()},
				"spec":     map[string]any{"replicas": replicas},
			}
			if err := p.patch(ctx, key, change); err != nil {
				return err
			}
		case "DaemonSet":
			return problem.New(fmt.Sprintf("scale service %q", service), nil, "it runs once on every node (deploy.mode: global), which cannot be scaled")
		default:
			return problem.New(fmt.Sprintf("scale service %q", service), nil, "it is a one-shot service, which cannot be scaled while it exists; set deploy.replicas and run `berth up`")
		}
	}
	return nil
}

// Restart replaces every pod of a service without a change of its definition.
// A Job runs again; what was stopped starts.
func (p *Project) Restart(ctx context.Context, service string) error {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		key := keyOf(w)
		if key.Kind == "Job" {
			if err := p.rerun(ctx, w); err != nil {
				return err
			}
			continue
		}
		change := startChange(w)
		if change == nil {
			change = map[string]any{}
		}
		if key.Kind == "CronJob" { // it has nothing to replace
			if err := p.patch(ctx, key, change); err != nil {
				return err
			}
			continue
		}
		stamp := map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationRestarted: time.Now().UTC().Format(time.RFC3339Nano)}}}
		merge(change, map[string]any{"spec": map[string]any{"template": stamp}})
		unpause(w, change)
		if err := p.patch(ctx, key, change); err != nil {
			return err
		}
	}
	return nil
}

// unpause adds to the patch of a workload that it goes on after a swap of images
// that was killed.
func unpause(w *unstructured.Unstructured, change map[string]any) {
	if w.GetKind() == "Deployment" {
		merge(change, map[string]any{"spec": map[string]any{"paused": nil}})
	}
}

// rerun makes a Job anew from itself.
func (p *Project) rerun(ctx context.Context, job *unstructured.Unstructured) error {
	fresh := job.DeepCopy()
	delete(fresh.Object, "status")
	meta := map[string]any{"name": job.GetName(), "namespace": job.GetNamespace()}
	if l := job.GetLabels(); l != nil {
		for _, key := range jobLabels() {
			delete(l, key)
		}
		fresh.SetLabels(l)
		meta["labels"] = fresh.Object["metadata"].(map[string]any)["labels"]
	}
	annotations := job.GetAnnotations()
	delete(annotations, annotationStopped)
	if len(annotations) > 0 {
		fresh.SetAnnotations(annotations)
		meta["annotations"] = fresh.Object["metadata"].(map[string]any)["annotations"]
	}
	fresh.Object["metadata"] = meta
	unstructured.RemoveNestedField(fresh.Object, "spec", "selector")
	unstructured.RemoveNestedField(fresh.Object, "spec", "suspend")
	for _, key := range jobLabels() {
		unstructured.RemoveNestedField(fresh.Object, "spec", "template", "metadata", "labels", key)
	}
	it := &item{key: keyOf(job), manifest: fresh, live: job}
	return p.replace(ctx, it, fmt.Sprintf("run Job %q again", job.GetName()), "it runs again")
}

// jobLabels are what the API server adds to a Job and its pods.
func jobLabels() []string {
	return []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"}
}

// merge puts what from holds into into, map by map.
func merge(into, from map[string]any) {
	for key, value := range from {
		a, aIsMap := into[key].(map[string]any)
		b, bIsMap := value.(map[string]any)
		if aIsMap && bIsMap {
			merge(a, b)
			continue
		}
		into[key] = value
	}
}

// Stop ends the pods of a service and keeps everything else, its number of
// pods included, for Start. What is stopped already stays so. The runs of a
// CronJob that are under way end with it, for good.
func (p *Project) Stop(ctx context.Context, service string) error {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		if change := stopChange(w); change != nil {
			if err := p.patch(ctx, keyOf(w), change); err != nil {
				return err
			}
		}
		if w.GetKind() == "CronJob" {
			if err := p.endRuns(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// endRuns deletes the runs of a CronJob that are under way.
func (p *Project) endRuns(ctx context.Context, cron *unstructured.Unstructured) error {
	jobs, err := kube.List[batchv1.Job](ctx, p.client, p.namespace, "")
	if err != nil {
		return err
	}
	for i := range jobs {
		j := &jobs[i]
		if !metav1.IsControlledBy(j, cron) || jobCondition(j, batchv1.JobComplete) != nil || jobCondition(j, batchv1.JobFailed) != nil {
			continue
		}
		key := model.ObjectKey{Group: "batch", Kind: "Job", Namespace: j.Namespace, Name: j.Name}
		if err := p.client.Delete(ctx, key, kube.DeleteOptions{UID: j.UID}); err != nil {
			return problem.New(fmt.Sprintf("end the run %q", j.Name), err, "")
		}
	}
	return nil
}

// Start starts what Stop stopped and runs again what has ended. What runs
// already goes on.
func (p *Project) Start(ctx context.Context, service string) error {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		change := startChange(w)
		switch {
		case change != nil:
			unpause(w, change)
			err = p.patch(ctx, keyOf(w), change)
		case w.GetKind() == "Job" && jobEnded(w):
			err = p.rerun(ctx, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarked takes off what Stop, or the end of a service, left on a workload.
func unmarked() map[string]any {
	return map[string]any{annotationStopped: nil, annotationCreated: nil, annotationFinished: nil, annotationLog: nil}
}

func stopped(w *unstructured.Unstructured) bool {
	_, ok := w.GetAnnotations()[annotationStopped]
	return ok
}

// stopChange is the patch that stops a workload, nil when there is nothing to
// stop.
func stopChange(w *unstructured.Unstructured) map[string]any {
	mark := func(was string, spec map[string]any) map[string]any {
		return map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationStopped: was}}, "spec": spec}
	}
	switch w.GetKind() {
	case "Deployment", "StatefulSet":
		n := replicasOf(w)
		if n == 0 {
			return nil
		}
		return mark(strconv.FormatInt(n, 10), map[string]any{"replicas": int64(0)})
	case "DaemonSet":
		if stopped(w) {
			return nil
		}
		return mark("1", map[string]any{"template": map[string]any{"spec": map[string]any{"nodeSelector": map[string]any{stoppedSelector: "true"}}}})
	case "CronJob":
		if stopped(w) {
			return nil
		}
		return mark("1", map[string]any{"suspend": true})
	default:
		job, err := kube.As[batchv1.Job](w)
		if err != nil || stopped(w) || job.Status.CompletionTime != nil {
			return nil
		}
		return mark("1", map[string]any{"suspend": true})
	}
}

// startChange is the patch that undoes stopChange, nil when the workload is
// not stopped.
func startChange(w *unstructured.Unstructured) map[string]any {
	was, ok := w.GetAnnotations()[annotationStopped]
	if !ok {
		return nil
	}
	unmark := func(spec map[string]any) map[string]any {
		return map[string]any{"metadata": map[string]any{"annotations": unmarked()}, "spec": spec}
	}
	switch w.GetKind() {
	case "Deployment", "StatefulSet":
		n, err := strconv.Atoi(was)
		if err != nil || replicasOf(w) != 0 {
			return unmark(map[string]any{}) // scaled by hand since
		}
		return unmark(map[string]any{"replicas": n})
	case "DaemonSet":
		return unmark(map[string]any{"template": map[string]any{"spec": map[string]any{"nodeSelector": map[string]any{stoppedSelector: nil}}}})
	default:
		return unmark(map[string]any{"suspend": false})
	}
}

// resume undoes Stop in a workload that has just been applied, now: apply
// alone leaves what Stop added. Before that it would start the old definition.
func (p *Project) resume(ctx context.Context, it *item, now *unstructured.Unstructured) error {
	change := startChange(now)
	if change == nil {
		return nil
	}
	if _, applied, _ := unstructured.NestedInt64(it.manifest.Object, "spec", "replicas"); applied {
		if spec, ok := change["spec"].(map[string]any); ok {
			delete(spec, "replicas") // also of a service that is scaled to nothing
		}
	}
	it.verb = model.Updated
	return p.patch(ctx, it.key, change)
}

// EndPods ends the pods of a service, its Jobs' too, after at most so many
// seconds. Whoever owns them may make new ones.
func (p *Project) EndPods(ctx context.Context, service string, grace int64) error {
	pods, err := p.servicePods(ctx, service)
	if err != nil {
		return err
	}
	return p.endAll(ctx, pods, grace)
}

// endAll ends pods after at most so many seconds.
func (p *Project) endAll(ctx context.Context, pods []corev1.Pod, grace int64) error {
	return parallel(ctx, len(pods), func(ctx context.Context, i int) error {
		key := model.ObjectKey{Kind: "Pod", Namespace: pods[i].Namespace, Name: pods[i].Name}
		return p.client.Delete(ctx, key, kube.DeleteOptions{UID: pods[i].UID, Grace: &grace})
	})
}

// Ended waits until a service has no pods that run or end. Those of a lost node
// are removed.
func (p *Project) Ended(ctx context.Context, service string) error {
	return until(ctx, func() (bool, error) {
		pods, err := p.servicePods(ctx, service)
		for i := range pods {
			err = errors.Join(err, p.removeLost(ctx, &pods[i]))
		}
		return len(pods) == 0, err
	})
}

// servicePods lists the pods of a service, without those that have ended and
// stay as a record.
func (p *Project) servicePods(ctx context.Context, service string) ([]corev1.Pod, error) {
	pods, err := kube.List[corev1.Pod](ctx, p.client, p.namespace, model.LabelService+"="+service+","+LabelOneOff+"!=True")
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		return pod.DeletionTimestamp == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed)
	}), err
}
