package apply

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/model"
)

// A verdict is how a service stands with respect to a condition.
type verdict struct {
	done     bool
	finished bool      // its one execution is over and was good: it must not run again
	text     string    // what is still awaited
	troubles []trouble // what stands in the way
}

// graceMissing is how long a service may be missing from the cluster.
const graceMissing = 10 * time.Second

// judge says whether a service has reached a condition. It looks at the state
// and the time alone.
func (s *snapshot) judge(service string, cond model.WaitCondition, now time.Time) verdict {
	mine := func(o metav1.Object, template corev1.PodTemplateSpec) bool {
		return (o.GetLabels()[model.LabelService] == service || carries(template.Annotations, service)) &&
			o.GetLabels()[LabelOneOff] == "" && o.GetDeletionTimestamp() == nil
	}
	v := verdict{done: true}
	found := false
	for _, d := range s.deployments {
		if mine(d, d.Spec.Template) {
			found = true
			v.add(s.unlessBehind("apps", "Deployment", d, func() verdict { return s.judgeDeployment(d, service, cond, now) }))
		}
	}
	for _, d := range s.statefulSets {
		if mine(d, d.Spec.Template) {
			found = true
			v.add(s.unlessBehind("apps", "StatefulSet", d, func() verdict { return s.judgeStatefulSet(d, service, cond, now) }))
		}
	}
	for _, d := range s.daemonSets {
		if mine(d, d.Spec.Template) {
			found = true
			v.add(s.unlessBehind("apps", "DaemonSet", d, func() verdict { return s.judgeDaemonSet(d, service, cond, now) }))
		}
	}
	for _, j := range s.cronJobs {
		found = found || mine(j, j.Spec.JobTemplate.Spec.Template) // there is nothing to wait for until its hour has come
	}
	for _, j := range s.jobs {
		if mine(j, j.Spec.Template) && metav1.GetControllerOf(j) == nil {
			found = true
			v.add(s.unlessBehind("batch", "Job", j, func() verdict { return s.judgeJob(j, service, cond, now) }))
		}
	}
	if !found {
		return verdict{text: "not in the cluster", troubles: []trouble{{short: "missing", grace: graceMissing,
			text: "the cluster has no such service", hint: "`berth up` starts the project"}}}
	}
	return v
}

// unlessBehind judges a workload, unless a change of our own has not been seen yet.
func (s *snapshot) unlessBehind(group, kind string, o metav1.Object, judge func() verdict) verdict {
	if s.marks.behind(model.ObjectKey{Group: group, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}, o) {
		return verdict{text: "waiting for the cluster to take notice"}
	}
	return judge()
}

func (s *snapshot) judgeStatefulSet(d *appsv1.StatefulSet, service string, cond model.WaitCondition, now time.Time) verdict {
	return s.judgeRollout(rollout{
		uid: d.UID, kind: "StatefulSet", desired: orOne(d.Spec.Replicas), pods: s.statefulSetPods(d),
		observed: d.Status.ObservedGeneration >= d.Generation,
		complete: d.Status.UpdatedReplicas >= orOne(d.Spec.Replicas) && d.Status.ReadyReplicas >= orOne(d.Spec.Replicas),
		ready:    d.Status.ReadyReplicas,
	}, service, cond, now)
}

func (s *snapshot) judgeDaemonSet(d *appsv1.DaemonSet, service string, cond model.WaitCondition, now time.Time) verdict {
	return s.judgeRollout(rollout{
		uid: d.UID, kind: "DaemonSet", desired: d.Status.DesiredNumberScheduled, pods: s.daemonSetPods(d),
		observed: d.Status.ObservedGeneration >= d.Generation,
		complete: d.Status.UpdatedNumberScheduled >= d.Status.DesiredNumberScheduled && d.Status.NumberAvailable >= d.Status.DesiredNumberScheduled,
		ready:    d.Status.NumberReady,
	}, service, cond, now)
}

// add joins what holds of another workload of the service.
func (v *verdict) add(other verdict) {
	v.done = v.done && other.done
	v.finished = v.finished || other.finished
	v.troubles = append(v.troubles, other.troubles...)
	if v.text == "" {
		v.text = other.text
	}
}

func (s *snapshot) judgeDeployment(d *appsv1.Deployment, service string, cond model.WaitCondition, now time.Time) verdict {
	if _, ok := d.Annotations[annotationFinished]; ok {
		return verdict{done: true}
	}
	desired := orOne(d.Spec.Replicas)
	pods := s.deploymentPods(d)
	r := rollout{
		uid: d.UID, kind: "Deployment", desired: desired, pods: pods,
		observed: d.Status.ObservedGeneration >= d.Generation,
		complete: d.Status.UpdatedReplicas >= desired && d.Status.Replicas <= d.Status.UpdatedReplicas && d.Status.AvailableReplicas >= desired,
		ready:    d.Status.ReadyReplicas,
	}
	if r.observed && desired > 0 && len(pods) >= int(desired) {
		ended := 0
		for _, pod := range pods {
			if endedWell(pod, service, now) {
				ended++
			}
		}
		if ended == len(pods) {
			return verdict{done: true, finished: true}
		}
	}
	v := s.judgeRollout(r, service, cond, now)
	for _, c := range d.Status.Conditions {
		switch {
		case v.done || !r.observed:
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			v.troubles = append(v.troubles, trouble{short: c.Reason, text: "its pods cannot be made: " + c.Message, grace: graceImage, hint: quotaHint()})
		case c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" && len(v.troubles) == 0:
			v.troubles = append(v.troubles, trouble{short: c.Reason, text: c.Message, grace: graceImage, hint: "`berth ps` and `berth events` say more"})
		}
	}
	return v
}

func quotaHint() string {
	return "a quota or policy of the namespace forbids it: kubectl get resourcequota,limitrange"
}

// oneShotWithin is how long a program has run that, having ended well, is taken
// for one that has done its work, although the kubelet has started it again.
const oneShotWithin = 10 * time.Second

// endedWell reports whether the pod's own container has run and ended well,
// under a restart policy by which Docker would leave it at that. The kubelet
// starts it again at once: a container that runs counts only when that is just
// so, after a first run that was short. One that ended after long service was
// told to end, and so was one whose image was changed in place.
func endedWell(pod *corev1.Pod, service string, now time.Time) bool {
	switch pod.Annotations[AnnotationRestart] {
	case "", "no", "on-failure":
	default:
		return false
	}
	own := pod.Spec.Containers[ownContainer(pod, service)].Name
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name != own {
			continue
		}
		ended := lastEnd(c)
		switch {
		case ended == nil || ended.ExitCode != 0:
			return false
		case pod.Generation > 1: // it has been changed in place: only the kubelet's patience tells who ended it
			return c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff"
		case c.State.Running == nil:
			return true
		}
		return now.Sub(c.State.Running.StartedAt.Time) < steadyAfter &&
			ended.FinishedAt.Sub(ended.StartedAt.Time) < oneShotWithin
	}
	return false
}

// rollout is what judging needs to know of a workload that keeps pods
// running.
type rollout struct {
	uid      types.UID
	kind     string
	desired  int32
	ready    int32
	pods     []*corev1.Pod // of the newest definition
	observed bool          // the controller has seen that definition
	complete bool          // and has nothing left to do for it
}

func (s *snapshot) judgeRollout(r rollout, service string, cond model.WaitCondition, now time.Time) verdict {
	if !r.observed {
		return verdict{text: "waiting for the cluster to take notice"}
	}
	if r.desired == 0 && r.kind != "DaemonSet" {
		return verdict{done: true}
	}
	running := 0
	for _, pod := range r.pods {
		if podStarted(pod) {
			running++
		}
	}
	v := verdict{}
	switch cond {
	case model.WaitStarted:
		v.done = running >= int(r.desired)
		v.text = fmt.Sprintf("%d/%d started", running, r.desired)
	case model.WaitServing:
		v.text = fmt.Sprintf("%d/%d ready", min(r.ready, r.desired), r.desired)
		v.done = r.complete && allRun(r.pods)
	case model.WaitHealthy:
		v.text = fmt.Sprintf("%d/%d ready", min(r.ready, r.desired), r.desired)
		if v.done = r.complete && steady(r.pods, now); r.complete && !v.done {
			v.text += ": making sure that it stays up"
			return v
		}
	default:
		v.text = "waiting for it to end"
	}
	if v.done {
		return v
	}
	v.text += s.podText(r.pods)
	v.troubles = s.podTroubles(r.pods, service, now)
	if len(v.troubles) == 0 && len(r.pods) < int(r.desired) {
		if e := s.lastEvent(r.uid, "FailedCreate"); e != nil && r.kind != "Deployment" {
			v.troubles = append(v.troubles, trouble{short: e.Reason, text: "its pods cannot be made: " + e.Message, grace: graceImage, hint: quotaHint()})
		}
	}
	return v
}

// podText says what the first pod that is not ready is doing.
func (s *snapshot) podText(pods []*corev1.Pod) string {
	for _, pod := range pods {
		if podReady(pod) {
			continue
		}
		text := ": " + startingText(pod)
		if message := s.probeMessage(pod); message != "" && pod.Status.Phase == corev1.PodRunning {
			text += " (" + firstLine(message) + ")"
		}
		return text
	}
	return ""
}

func (s *snapshot) podTroubles(pods []*corev1.Pod, service string, now time.Time) []trouble {
	var all []trouble
	for _, pod := range pods {
		for _, t := range []*trouble{podTrouble(pod, service), s.provisioning(pod), s.creating(pod), s.unhealthy(pod, now)} {
			if t != nil {
				all = append(all, *t)
				break
			}
		}
	}
	return all
}

// How long a container without a healthcheck must have run before it counts
// as up: Kubernetes calls it ready the moment it starts, also if it crashes in
// the next. The kubelet looks about once a second, and start times are in whole
// seconds. A container that has crashed before must prove more.
const (
	steadyAfter      = 2500 * time.Millisecond
	steadyAfterCrash = 10 * time.Second
)

// allRun reports whether every container of the pods runs at this moment. The
// workload's own status may be behind.
func allRun(pods []*corev1.Pod) bool {
	for _, pod := range pods {
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running == nil {
				return false
			}
		}
	}
	return true
}

// steady reports whether every pod has run long enough to be believed.
func steady(pods []*corev1.Pod, now time.Time) bool {
	if !allRun(pods) {
		return false
	}
	for _, pod := range pods {
		for _, c := range pod.Status.ContainerStatuses {
			if probed(pod, c.Name) {
				continue
			}
			after := steadyAfter
			if ended := c.LastTerminationState.Terminated; ended != nil && ended.ExitCode != 0 {
				after = steadyAfterCrash
			}
			if now.Sub(c.State.Running.StartedAt.Time) < after {
				return false
			}
		}
	}
	return true
}

// probed reports whether a container has a healthcheck.
func probed(pod *corev1.Pod, container string) bool {
	for _, c := range pod.Spec.Containers {
		if c.Name == container {
			return c.ReadinessProbe != nil
		}
	}
	return false
}

// podStarted reports whether every container of a pod runs or has run.
func podStarted(pod *corev1.Pod) bool {
	if len(pod.Status.ContainerStatuses) < len(pod.Spec.Containers) || len(pod.Spec.Containers) == 0 {
		return false
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running == nil && lastEnd(c) == nil {
			return false
		}
	}
	return true
}

func (s *snapshot) judgeJob(j *batchv1.Job, service string, cond model.WaitCondition, now time.Time) verdict {
	if jobCondition(j, batchv1.JobComplete) != nil || jobCondition(j, batchv1.JobSuccessCriteriaMet) != nil {
		return verdict{done: true}
	}
	pods := s.jobPods(j)
	if failed := jobCondition(j, batchv1.JobFailed); failed != nil {
		return verdict{text: "failed", troubles: []trouble{jobTrouble(failed, pods, service)}}
	}
	if failed := jobCondition(j, batchv1.JobFailureTarget); failed != nil {
		return verdict{text: "failed", troubles: []trouble{jobTrouble(failed, pods, service)}}
	}
	if j.Spec.Suspend != nil && *j.Spec.Suspend && cond != model.WaitCompleted {
		return verdict{done: true}
	}
	wanted := min(orOne(j.Spec.Parallelism), orOne(j.Spec.Completions))
	started, ready, succeeded := 0, 0, 0
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodSucceeded {
			succeeded++
		}
		if podStarted(pod) {
			started++
		}
		if podReady(pod) || pod.Status.Phase == corev1.PodSucceeded {
			ready++
		}
	}
	if succeeded >= int(orOne(j.Spec.Completions)) {
		return verdict{done: true} // the Job itself says so seconds later
	}
	v := verdict{}
	switch cond {
	case model.WaitStarted:
		v.done, v.text = started >= int(wanted), "starting"
	case model.WaitHealthy, model.WaitServing:
		v.done, v.text = ready >= int(wanted), "starting"
	default:
		v.text = "running"
	}
	if v.done {
		return v
	}
	v.text += s.podText(pods)
	for _, t := range s.podTroubles(pods, service, now) {
		if t.short != "CrashLoopBackOff" && t.short != "unhealthy" { // the Job itself counts its attempts
			v.troubles = append(v.troubles, t)
		}
	}
	if e := s.lastEvent(j.UID, "FailedCreate"); e != nil && len(pods) == 0 {
		v.troubles = append(v.troubles, trouble{short: e.Reason, text: "its pods cannot be made: " + e.Message, grace: graceImage, hint: quotaHint()})
	}
	return v
}

// jobTrouble describes a Job that has failed by the last of its pods.
func jobTrouble(failed *batchv1.JobCondition, pods []*corev1.Pod, service string) trouble {
	t := trouble{short: failed.Reason, text: "it failed: " + failed.Message}
	for i := len(pods) - 1; i >= 0; i-- {
		pod := pods[i]
		own := pod.Spec.Containers[ownContainer(pod, service)].Name
		for _, c := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
			ended := lastEnd(c)
			if ended == nil || ended.ExitCode == 0 {
				continue
			}
			t.pod, t.container, t.exit = pod.Name, c.Name, &ended.ExitCode
			t.text = fmt.Sprintf("container %q of pod %q ended with exit code %d (%s)", c.Name, pod.Name, ended.ExitCode, ended.Reason)
			if c.Name == own || ended.ExitCode != 0 {
				return t
			}
		}
	}
	return t
}
