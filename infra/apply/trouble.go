package apply

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
)

// A trouble is a reason why a service does not come up. It becomes a failure
// when it has lasted longer than its grace and the wait longer than its patience.
type trouble struct {
	short     string // a word for tables: CrashLoopBackOff
	text      string // one sentence for the user
	hint      string
	grace     time.Duration
	patience  time.Duration // of the wait as a whole: nothing tells when what it is about began
	pod       string
	container string // whose last log lines help; "" for none
	previous  bool   // they are those of the previous incarnation
	exit      *int32
}

// How long a trouble may last that often goes away by itself.
const (
	graceNone       = 0
	graceImage      = 5 * time.Second
	graceConfig     = 10 * time.Second
	graceSchedule   = 15 * time.Second
	graceMount      = 20 * time.Second
	graceFirstCrash = 30 * time.Second
)

// crashes is how many times a container must have been started again before
// its end counts as a crash loop.
const crashes = 2

// podTrouble says what keeps a pod from running, as far as its own status
// tells; nil when nothing does.
func podTrouble(pod *corev1.Pod, service string) *trouble {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded {
		return nil
	}
	if t := scheduling(pod); t != nil {
		return t
	}
	for _, c := range pod.Status.InitContainerStatuses {
		if t := containerTrouble(pod, c, "init container"); t != nil {
			return t
		}
	}
	var found *trouble
	for _, c := range pod.Status.ContainerStatuses {
		t := containerTrouble(pod, c, "container")
		if t != nil && (found == nil || c.Name == pod.Spec.Containers[ownContainer(pod, service)].Name) {
			found = t
		}
	}
	if found == nil && pod.Status.Phase == corev1.PodFailed {
		return &trouble{short: pod.Status.Reason, pod: pod.Name, grace: graceFirstCrash,
			text: fmt.Sprintf("pod %q failed: %s", pod.Name, strings.TrimSpace(pod.Status.Reason+" "+pod.Status.Message))}
	}
	return found
}

func scheduling(pod *corev1.Pod) *trouble {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return &trouble{short: "Unschedulable", pod: pod.Name, grace: graceSchedule,
				text: fmt.Sprintf("no node can run pod %q: %s", pod.Name, c.Message), hint: schedulingHint(c.Message)}
		}
	}
	return nil
}

func schedulingHint(message string) string {
	switch {
	case strings.Contains(message, "Insufficient"):
		return "lower deploy.resources.reservations of the service, stop other projects (`berth ls`), or make a cluster with more workers"
	case strings.Contains(message, "volume node affinity"):
		return "its volume is on a node that is full or stopped: `berth cluster node start NAME`"
	case strings.Contains(message, "PersistentVolumeClaim") || strings.Contains(message, "persistentvolumeclaim"):
		return "the cluster has no storage for its volume: `kubectl get storageclass,pvc -A`"
	case strings.Contains(message, "affinity") || strings.Contains(message, "selector"):
		return "check deploy.placement and platform of the service against `kubectl get nodes --show-labels`"
	case strings.Contains(message, "taint"):
		return "no worker is ready: `kubectl get nodes`"
	}
	return "`kubectl get nodes` shows the nodes' state"
}

// containerTrouble says why a container does not run; nil when it does, or is
// on its way.
func containerTrouble(pod *corev1.Pod, c corev1.ContainerStatus, what string) *trouble {
	w := c.State.Waiting
	if w == nil {
		return nil
	}
	t := &trouble{short: w.Reason, pod: pod.Name, text: fmt.Sprintf("%s %q of pod %q: %s: %s", what, c.Name, pod.Name, w.Reason, w.Message)}
	switch w.Reason {
	case "ErrImageNeverPull":
		t.text = fmt.Sprintf("image %q is not on node %q, and must not be pulled", c.Image, pod.Spec.NodeName)
		t.hint = "`berth up` loads it; it may have been removed from the node since"
	case "ImagePullBackOff", "ErrImagePull":
		t.text = fmt.Sprintf("image %q cannot be had on node %q: %s", c.Image, pod.Spec.NodeName, w.Message)
		t.hint = pullHint(pod, c.Image, w.Message)
		if w.Reason == "ErrImagePull" {
			t.grace = graceImage
		}
	case "InvalidImageName":
		t.text = fmt.Sprintf("%q is not the name of an image", c.Image)
		t.hint = "correct `image` of the service"
	case "CreateContainerConfigError":
		t.grace = graceConfig
		t.hint = "a secret, config or user that the service names is not there"
	case "CreateContainerError", "RunContainerError":
		t.grace = graceImage
		t.hint = "check command, entrypoint, working_dir and mounts of the service"
	case "CrashLoopBackOff":
		return crash(t, c, what)
	default:
		return nil
	}
	return t
}

// pullHint is what to do about an image that a node cannot pull.
func pullHint(pod *corev1.Pod, image, message string) string {
	refused := slices.ContainsFunc([]string{"401", "403", "unauthorized", "denied", "no basic auth", "authorization failed"}, func(word string) bool {
		return strings.Contains(strings.ToLower(message), word)
	})
	var secrets []string
	for _, s := range pod.Spec.ImagePullSecrets {
		secrets = append(secrets, s.Name)
	}
	switch {
	case !refused:
		return fmt.Sprintf("check the image's name and that you may pull it: docker pull %s", image)
	case len(secrets) > 0:
		return fmt.Sprintf("the registry wants credentials, and those of Secret %s will not do, or there is no such Secret: `kubectl -n %s get secret`", strings.Join(secrets, ", "), pod.Namespace)
	}
	return fmt.Sprintf("the registry wants credentials: check the image's name with `docker pull %s`; then add --pull-secret to `berth up --context ...`, which copies yours into the cluster, or name a Secret of your own in x-berth.imagePullSecrets", image)
}

// crash describes a container that ends again and again.
func crash(t *trouble, c corev1.ContainerStatus, what string) *trouble {
	t.container, t.previous, t.grace = c.Name, false, graceNone
	if c.RestartCount < crashes {
		t.grace = graceFirstCrash
	}
	ended := lastEnd(c)
	if ended == nil {
		return t
	}
	t.exit = &ended.ExitCode
	t.text = fmt.Sprintf("%s %q of pod %q crashes: exit code %d (%s), started %d times", what, c.Name, t.pod, ended.ExitCode, ended.Reason, c.RestartCount+1)
	if ended.Message != "" {
		t.text += ": " + strings.TrimSpace(ended.Message)
	}
	switch {
	case ended.Reason == "OOMKilled":
		t.hint = "it used more memory than its limit: raise deploy.resources.limits.memory (or mem_limit) of the service"
	case ended.ExitCode == 0:
		t.hint = "it ends without an error: a service that has work to do once wants `restart: on-failure`"
	case ended.ExitCode == 126 || ended.ExitCode == 127 || ended.Reason == "StartError" || ended.Reason == "ContainerCannotRun":
		t.hint = "the program was not found or cannot be run: check command and entrypoint of the service, and the image's platform"
	}
	return t
}

// provisioning says that a volume cannot be made for a pod that waits for it,
// before it has a node.
func (s *snapshot) provisioning(pod *corev1.Pod) *trouble {
	if pod.Spec.NodeName != "" {
		return nil
	}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		claim := v.PersistentVolumeClaim.ClaimName
		e := s.lastClaimEvent(claim, "ProvisioningFailed", "ProvisioningSucceeded")
		if e != nil && e.Reason == "ProvisioningFailed" {
			return &trouble{short: e.Reason, pod: pod.Name, grace: graceMount, text: fmt.Sprintf("volume %q of pod %q cannot be made: %s", claim, pod.Name, e.Message),
				hint: "the node that was chosen for it may be down: `kubectl get nodes`, `berth cluster node start NAME`"}
		}
	}
	return nil
}

// creating says what an event tells of a pod whose containers are not made
// yet; nil when there is no such event.
func (s *snapshot) creating(pod *corev1.Pod) *trouble {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting == nil || (c.State.Waiting.Reason != "ContainerCreating" && c.State.Waiting.Reason != "PodInitializing") {
			return nil
		}
	}
	e := s.lastEvent(pod.UID, "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox")
	if e == nil || pod.Status.Phase != corev1.PodPending {
		return nil
	}
	if later := s.lastEvent(pod.UID, "Pulling", "Pulled", "Created", "Started"); later != nil && kube.EventTime(later).After(kube.EventTime(e)) {
		return nil
	}
	t := &trouble{short: e.Reason, pod: pod.Name, grace: graceMount, text: fmt.Sprintf("pod %q: %s: %s", pod.Name, e.Reason, e.Message)}
	if e.Reason == "FailedMount" {
		t.hint = "a volume, config or secret of the service cannot be mounted: check `volumes`, `configs` and `secrets`"
	}
	return t
}

// unhealthy says that a running pod has failed its healthcheck for longer
// than Docker would wait: start_period and then `retries` checks.
func (s *snapshot) unhealthy(pod *corev1.Pod, now time.Time) *trouble {
	if podReady(pod) || len(pod.Spec.Containers) == 0 {
		return nil
	}
	for _, spec := range pod.Spec.Containers {
		if spec.ReadinessProbe == nil {
			continue
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name != spec.Name || c.Ready || c.State.Running == nil {
				continue
			}
			budget := healthBudget(pod, spec.ReadinessProbe)
			if now.Before(c.State.Running.StartedAt.Add(budget)) {
				continue
			}
			t := &trouble{short: "unhealthy", pod: pod.Name, container: spec.Name,
				text: fmt.Sprintf("container %q of pod %q is still unhealthy %s after its start", spec.Name, pod.Name, budget.Round(time.Second)),
				hint: "check the service's healthcheck, or give it a longer start_period"}
			if restartsInPlace(spec.Command) {
				t.patience = budget // its program may have been started just before the wait
			}
			if message := s.probeMessage(pod); message != "" {
				t.text += ": " + message
			}
			return t
		}
	}
	return nil
}

// probeMessage is what the last failed probe of a pod said.
func (s *snapshot) probeMessage(pod *corev1.Pod) string {
	e := s.lastEvent(pod.UID, "Unhealthy")
	if e == nil {
		return ""
	}
	return strings.TrimSpace(e.Message)
}

// healthBudget is how long after its start Docker would call a container with
// this probe unhealthy.
func healthBudget(pod *corev1.Pod, probe *corev1.Probe) time.Duration {
	seconds := func(n, otherwise int32) time.Duration {
		if n == 0 {
			n = otherwise
		}
		return time.Duration(n) * time.Second
	}
	start, err := time.ParseDuration(pod.Annotations[AnnotationStartPeriod] + "s")
	if err != nil {
		start = 0
	}
	retries := max(probe.FailureThreshold, 1)
	return start + seconds(probe.InitialDelaySeconds, 0) + time.Duration(retries)*seconds(probe.PeriodSeconds, 10) + seconds(probe.TimeoutSeconds, 1)
}

// startingText says in a few words what a pod that is not ready is doing.
func startingText(pod *corev1.Pod) string {
	if pod.Spec.NodeName == "" {
		return "waiting for a node"
	}
	for _, c := range pod.Status.InitContainerStatuses {
		if c.State.Running != nil {
			return fmt.Sprintf("running init container %q", c.Name)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			if w.Reason == "ContainerCreating" || w.Reason == "PodInitializing" || w.Reason == "" {
				return "creating its containers"
			}
			return w.Reason
		}
		if c.State.Running != nil && !c.Ready {
			return "waiting for its healthcheck"
		}
	}
	return "starting"
}
