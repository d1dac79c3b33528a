package apply

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// Observe lists the services of the project that the cluster has, sorted by
// name; none when the project is not there.
func (p *Project) Observe(ctx context.Context) ([]model.ServiceState, error) {
	s, err := p.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return s.services(time.Now()), nil
}

// snapshot reads the project's workloads and pods once.
func (p *Project) snapshot(ctx context.Context) (*snapshot, error) {
	s := newSnapshot()
	selector := model.LabelService
	reads := []func(context.Context) error{
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.deployments.put) },
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.statefulSets.put) },
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.daemonSets.put) },
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.jobs.put) },
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.cronJobs.put) },
		func(ctx context.Context) error { return readInto(ctx, p, selector, s.pods.put) },
	}
	err := parallel(ctx, len(reads), func(ctx context.Context, i int) error { return reads[i](ctx) })
	return s, err
}

func readInto[T any, P kube.Typed[T]](ctx context.Context, p *Project, selector string, put func(P)) error {
	items, err := kube.List[T, P](ctx, p.client, p.namespace, selector)
	for i := range items {
		put(P(&items[i]))
	}
	return err
}

// services describes every service that has a workload or a pod.
func (s *snapshot) services(now time.Time) []model.ServiceState {
	states := map[string]*model.ServiceState{}
	add := func(o model.Object, kind string, desired, ready int32, complete bool) {
		service := o.GetLabels()[model.LabelService]
		if service == "" || o.GetLabels()[LabelOneOff] != "" {
			return
		}
		states[service] = &model.ServiceState{Service: service, Kind: kind, Name: o.GetName(), Desired: desired, Ready: ready, Complete: complete,
			Created: o.GetAnnotations()[annotationCreated] != "", DependsOn: needs(o.GetAnnotations()[AnnotationNeeds])}
	}
	for _, d := range s.deployments {
		_, finished := d.Annotations[annotationFinished]
		add(d, "Deployment", orOne(d.Spec.Replicas), d.Status.ReadyReplicas, finished)
	}
	for _, d := range s.statefulSets {
		add(d, "StatefulSet", orOne(d.Spec.Replicas), d.Status.ReadyReplicas, false)
	}
	for _, d := range s.daemonSets {
		add(d, "DaemonSet", d.Status.DesiredNumberScheduled, d.Status.NumberReady, false)
	}
	for _, j := range s.cronJobs {
		add(j, "CronJob", 0, 0, false)
	}
	for _, j := range s.jobs {
		if metav1.GetControllerOf(j) != nil {
			continue // one run of a CronJob
		}
		desired := orOne(j.Spec.Completions)
		if j.Spec.Suspend != nil && *j.Spec.Suspend {
			desired = 0
		}
		ready := j.Status.Succeeded
		if j.Status.Ready != nil {
			ready += *j.Status.Ready
		}
		add(j, "Job", desired, ready, jobCondition(j, batchv1.JobComplete) != nil)
	}
	for _, pod := range s.pods {
		service := pod.Labels[model.LabelService]
		if pod.Labels[LabelOneOff] != "" {
			continue
		}
		host := states[service]
		if host == nil {
			continue
		}
		host.Pods = append(host.Pods, podState(pod, service, now))
		for _, pair := range split(pod.Annotations[AnnotationServices]) {
			_, carried, _ := strings.Cut(pair, "=")
			if carried == service {
				continue
			}
			if states[carried] == nil {
				guest := *host
				guest.Service, guest.Pods = carried, nil
				states[carried] = &guest
			}
			states[carried].Pods = append(states[carried].Pods, podState(pod, carried, now))
		}
	}
	list := make([]model.ServiceState, 0, len(states))
	for _, state := range states {
		slices.SortFunc(state.Pods, func(a, b model.PodState) int {
			return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
		})
		list = append(list, *state)
	}
	slices.SortFunc(list, func(a, b model.ServiceState) int { return strings.Compare(a.Service, b.Service) })
	return list
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// ownContainer is the index of a pod's container that is the service's own.
func ownContainer(pod *corev1.Pod, service string) int {
	for _, pair := range split(pod.Annotations[AnnotationServices]) {
		if container, carried, _ := strings.Cut(pair, "="); carried == service {
			return max(0, slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container }))
		}
	}
	for _, name := range []string{pod.Annotations[AnnotationDefaultContainer], service} {
		if i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
			return i
		}
	}
	return 0
}

// ServiceOf is the compose service that a container of a pod runs.
func ServiceOf(pod *corev1.Pod, container string) string {
	for _, pair := range split(pod.Annotations[AnnotationServices]) {
		if name, service, _ := strings.Cut(pair, "="); name == container {
			return service
		}
	}
	return pod.Labels[model.LabelService]
}

// carries reports whether pods with these annotations run a service beside
// their own.
func carries(annotations map[string]string, service string) bool {
	return slices.ContainsFunc(split(annotations[AnnotationServices]), func(pair string) bool {
		_, carried, _ := strings.Cut(pair, "=")
		return carried == service
	})
}

func podState(pod *corev1.Pod, service string, now time.Time) model.PodState {
	state := model.PodState{
		Name: pod.Name, Node: pod.Spec.NodeName, IP: pod.Status.PodIP, Phase: string(pod.Status.Phase),
		Ready: podReady(pod), Created: pod.CreationTimestamp.Time,
	}
	if len(pod.Spec.Containers) > 0 {
		own := pod.Spec.Containers[ownContainer(pod, service)]
		state.Container, state.Image = own.Name, own.Image
	}
	for _, c := range pod.Status.ContainerStatuses {
		state.Restarts += c.RestartCount
		if c.Name != state.Container {
			continue
		}
		state.ImageID = c.ImageID
		_, state.ContainerID, _ = strings.Cut(c.ContainerID, "://")
		if ended := lastEnd(c); ended != nil {
			state.ExitCode = &ended.ExitCode
			state.Since = ended.FinishedAt.Time
		}
		if c.State.Running != nil {
			state.Since = c.State.Running.StartedAt.Time
		}
	}
	state.Health = health(pod, state.Container, now)
	if pod.DeletionTimestamp != nil {
		state.Phase = "Terminating"
	}
	if t := podTrouble(pod, service); t != nil {
		state.Reason = t.short
	} else if state.Phase == "Pending" {
		state.Reason = startingText(pod)
	}
	return state
}

// health is what Docker would call the state of a container's healthcheck.
func health(pod *corev1.Pod, container string, now time.Time) string {
	for _, spec := range pod.Spec.Containers {
		if spec.Name != container || spec.ReadinessProbe == nil {
			continue
		}
		for _, c := range pod.Status.ContainerStatuses {
			switch {
			case c.Name != container || c.State.Running == nil:
			case c.Ready:
				return "healthy"
			case now.After(c.State.Running.StartedAt.Add(healthBudget(pod, spec.ReadinessProbe))):
				return "unhealthy"
			default:
				return "starting"
			}
		}
	}
	return ""
}

// lastEnd is how a container ended the last time, nil when it never did.
func lastEnd(c corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// Found is a compose project that a cluster has.
type Found struct {
	Project   string               `json:"project"`
	Namespace string               `json:"namespace"`
	Services  []model.ServiceState `json:"services"`
}

// List finds all compose projects on a cluster, sorted by name.
func List(ctx context.Context, client *kube.Client) ([]Found, error) {
	parents, err := kube.List[corev1.ConfigMap](ctx, client, "", labelSetID+","+model.LabelProject)
	if err != nil {
		return nil, err
	}
	found := make([]Found, len(parents))
	err = parallel(ctx, len(parents), func(ctx context.Context, i int) error {
		name, ns := parents[i].Labels[model.LabelProject], parents[i].Namespace
		services, err := New(client, name, ns, nil).Observe(ctx)
		found[i] = Found{Project: name, Namespace: ns, Services: append([]model.ServiceState{}, services...)} // in JSON none is no null
		return err
	})
	slices.SortFunc(found, func(a, b Found) int { return strings.Compare(a.Project, b.Project) })
	return found, err
}
