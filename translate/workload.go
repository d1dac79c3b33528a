package translate

import (
	"fmt"
	"path"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// grace is how long Docker waits between the stop signal and the kill.
const grace = 10

// pod is a pod template on its way, with the objects only it uses.
type pod struct {
	template corev1.PodTemplateSpec
	objects  []Object
	pinned   bool // its volumes tie it to a node
}

// podOf returns the pod template of u and of the units it carries, with the
// labels of their aliases.
func (t *translator) podOf(u *unit, aliases map[string]string) *pod {
	volumes := newPodVolumes(len(u.svc.Volumes))
	units := append([]*unit{u}, u.carried...)
	containerNames := newNameSet(maxLabel)
	var hooks, containers []corev1.Container
	for _, m := range units {
		m.container = containerNames.take(containerName(m))
	}
	for _, m := range units {
		s := m.mainScope()
		mounts := t.mounts(volumes, s)
		hooks = append(hooks, t.preStart(volumes, containerNames, m, mounts)...)
		containers = append(containers, t.supervised(volumes, m, s, t.mainContainer(m, s, mounts)))
	}
	spec := t.podSpec(u, units)
	t.letWrite(&spec, volumes, units, containers)
	spec.InitContainers = append(t.copyContainers(volumes, containerNames), hooks...)
	spec.Containers = containers
	spec.Volumes = nilIfEmpty(volumes.volumes)
	if slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Lifecycle != nil && c.Lifecycle.StopSignal != nil }) {
		spec.OS = &corev1.PodOS{Name: corev1.Linux}
	}
	p := &pod{template: corev1.PodTemplateSpec{Spec: spec}, objects: volumes.objects, pinned: volumes.pinned}
	p.template.Labels = t.podLabels(u, units, aliases)
	p.template.Annotations = t.templateAnnotations(u, units, containers)
	t.reportTexts(units, ".labels", labelsOf)
	t.reportTexts(units, ".annotations", annotationsOf)
	t.reportGrace(units)
	return p
}

// containerName is what the container of u is called: container_name, as in
// Docker, or the service's name.
func containerName(u *unit) string {
	if u.svc.ContainerName != "" {
		return u.svc.ContainerName
	}
	return u.name
}

// templateAnnotations returns the annotations of the pods of u: compose's
// labels and annotations, and what must make pods roll.
func (t *translator) templateAnnotations(u *unit, units []*unit, containers []corev1.Container) map[string]string {
	out := t.podAnnotations(u, units)
	annotateWaiting(out, u, units, containers)
	for _, m := range units {
		if m.facts == nil || m.facts.ID == "" || m.svc.Build != nil {
			continue // the tag of a built image changes with its content
		}
		key := annotationImageID
		if m != u {
			key += "." + shorten(m.container, m.name, maxLabel-len("image-id."))
		}
		out[key] = m.facts.ID
	}
	if l := u.svc.Logging; l != nil && l.Driver != "" {
		out["berth.dev/log-driver"] = l.Driver
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// mainContainer is the container of a service or job.
func (t *translator) mainContainer(u *unit, s scope, mounts []corev1.VolumeMount) corev1.Container {
	c := t.containerOf(s, u.container, mounts)
	c.Ports = t.containerPorts(u)
	c.TTY, c.Stdin = u.svc.Tty, u.svc.StdinOpen
	c.ReadinessProbe, c.StartupProbe = t.probes(s, u.svc.HealthCheck)
	c.Lifecycle = t.lifecycle(u, s)
	return c
}

// containerOf is what all containers have in common: those of services, jobs
// and pre_start hooks.
func (t *translator) containerOf(s scope, name string, mounts []corev1.VolumeMount) corev1.Container {
	command, args := t.process(s)
	c := corev1.Container{
		Name:            name,
		Image:           podImage(s),
		ImagePullPolicy: t.pullPolicy(s),
		Command:         command,
		Args:            args,
		WorkingDir:      s.spec.WorkingDir,
		Env:             mergeEnv(t.env(s), t.modelEnv(s)),
		Resources:       t.resources(s),
		SecurityContext: t.containerSecurity(s),
		VolumeMounts:    mounts,
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		c.WorkingDir = "/" + c.WorkingDir
	}
	if len(c.Env) == 0 {
		c.Env = nil
	}
	return c
}

// preStart returns the hooks of u as init containers, in order. They see the
// service's volumes besides their own.
func (t *translator) preStart(p *podVolumes, names *nameSet, u *unit, mounts []corev1.VolumeMount) []corev1.Container {
	var out []corev1.Container
	for i := range u.svc.PreStart {
		hook := &u.svc.PreStart[i]
		s := scope{unit: u, path: itemPath(u.path, "pre_start", i), spec: &hook.ContainerSpec, image: hookImage(u, hook)}
		if f, ok := t.in.Images[s.image]; ok {
			s.facts = &f
		}
		own := t.mounts(p, s)
		for _, m := range mounts {
			if !slices.ContainsFunc(own, func(x corev1.VolumeMount) bool { return x.MountPath == m.MountPath }) {
				own = append(own, m)
			}
		}
		c := t.containerOf(s, names.take(fmt.Sprintf("%s-pre-start-%d", u.container, i+1)), own)
		if !hook.PerReplica && replicasOf(u) > 1 {
			t.report.approximated(s.path, "runs before every pod of the service, not once", "")
		}
		out = append(out, c)
	}
	return out
}

// podSpec is what belongs to the pod as a whole.
func (t *translator) podSpec(u *unit, units []*unit) corev1.PodSpec {
	h := t.hostNamesOf(u)
	policy, dns := t.dns(u)
	spec := corev1.PodSpec{
		AutomountServiceAccountToken:  ptr(false),
		EnableServiceLinks:            ptr(false),
		TerminationGracePeriodSeconds: ptr(t.gracePeriod(units)),
		DNSPolicy:                     policy,
		DNSConfig:                     dns,
		Hostname:                      h.hostname,
		Subdomain:                     h.subdomain,
		HostnameOverride:              h.override,
		SetHostnameAsFQDN:             h.fqdn,
		HostAliases:                   t.hostAliases(units),
		NodeSelector:                  t.nodeSelector(u),
		Affinity:                      t.affinity(u),
		TopologySpreadConstraints:     t.spread(u),
		Tolerations:                   t.tolerations(u),
		RuntimeClassName:              t.runtimeClass(u),
		SecurityContext:               t.podSecurity(units),
		ImagePullSecrets:              t.pullSecrets(units),
	}
	for _, m := range units {
		t.sharedNamespaces(&spec, m)
	}
	return spec
}

// gracePeriod is the longest stop_grace_period of the units, in seconds.
func (t *translator) gracePeriod(units []*unit) int64 {
	longest := int64(0)
	for _, u := range units {
		own := int64(grace)
		if d := u.svc.StopGracePeriod; d != nil {
			own = 0
			if *d > 0 {
				own = int64(seconds(durationOf(*d)))
			}
		}
		if !t.owned() && SignalName(u.svc.StopSignal) == "SIGKILL" {
			own = 0
		}
		longest = max(longest, own)
	}
	return longest
}

// workload returns the object that keeps the pods of u running, which depend on
// deps.
func (t *translator) workload(u *unit, p *pod, deps []Dependency) Object {
	replicas := ptr(int32(replicasOf(u)))
	selector := &metav1.LabelSelector{MatchLabels: t.selector(u)}
	meta := t.workloadMeta(u)
	annotateNeeds(&meta, deps)
	history := int32(10)
	if u.hints.RevisionHistoryLimit != nil {
		history = *u.hints.RevisionHistoryLimit
	}
	if u.kind == statefulSet || u.kind.oneShot() {
		t.reportNoUpdate(u)
	}
	switch u.kind {
	case daemonSet:
		return &appsv1.DaemonSet{TypeMeta: typeMeta("apps/v1", "DaemonSet"), ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{
			Selector: selector, Template: p.template, UpdateStrategy: t.daemonStrategy(u), MinReadySeconds: t.minReady(u), RevisionHistoryLimit: &history,
		}}
	case statefulSet:
		return &appsv1.StatefulSet{TypeMeta: typeMeta("apps/v1", "StatefulSet"), ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
			Replicas: t.scaled(u, replicas), Selector: selector, Template: p.template, ServiceName: u.kube,
			PodManagementPolicy: appsv1.ParallelPodManagement, MinReadySeconds: t.minReady(u), RevisionHistoryLimit: &history,
		}}
	case job:
		return &batchv1.Job{TypeMeta: typeMeta("batch/v1", "Job"), ObjectMeta: meta, Spec: t.jobSpec(u, p.template)}
	case cronJob:
		return t.cronJob(u, meta, p.template)
	}
	return &appsv1.Deployment{TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: t.scaled(u, replicas), Selector: selector, Template: p.template, Strategy: t.strategy(u, p.pinned),
		MinReadySeconds: t.minReady(u), ProgressDeadlineSeconds: t.progressDeadline(u), RevisionHistoryLimit: &history,
	}}
}

// scaled leaves the number of pods to the autoscaler where there is one.
func (t *translator) scaled(u *unit, replicas *int32) *int32 {
	if u.hints.Autoscale != nil {
		return nil
	}
	return replicas
}

// workloadMeta is the metadata of the workload: labels of deploy.labels too.
func (t *translator) workloadMeta(u *unit) metav1.ObjectMeta {
	m := t.meta(u.kube, u)
	units := append([]*unit{u}, u.carried...)
	labels := podTexts(units, deployLabelsOf)
	for name, value := range labels {
		if _, ours := m.Labels[name]; !ours && isQualifiedName(name) && isLabelValue(value) {
			m.Labels[name] = value
		}
	}
	if len(labels) > 0 {
		annotations := mergedLabels(m.Annotations, nil)
		if foreignKeys(annotations, labels, m.Labels); len(annotations) > 0 {
			m.Annotations = annotations
		}
	}
	t.reportTexts(units, ".deploy.labels", deployLabelsOf)
	return m
}

// replicasOf is how many pods a service wants.
func replicasOf(u *unit) int {
	if u.job != nil {
		return 1
	}
	return max(0, min(u.svc.GetScale(), 1<<20))
}

// jobSpec is the Job of a service or compose job that ends.
func (t *translator) jobSpec(u *unit, template corev1.PodTemplateSpec) batchv1.JobSpec {
	policy, attempts, _ := restartPolicy(u.svc)
	spec := batchv1.JobSpec{Template: template, BackoffLimit: ptr(int32(0))}
	spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	if policy == types.RestartPolicyOnFailure {
		spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		if attempts < 0 {
			attempts = 1 << 30
		}
		spec.BackoffLimit = ptr(int32(attempts))
	} else if t.retries(u) {
		spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		spec.BackoffLimit = ptr(int32(jobRetries))
	}
	if n := t.jobRuns(u); n != 1 {
		spec.Completions, spec.Parallelism = ptr(n), ptr(n)
		if n == 0 {
			spec.Completions = ptr(int32(1)) // zero pods never complete; none run either
		}
	}
	return spec
}

// jobRetries is how often a Job is tried again that nothing starts in order:
// Kubernetes' own default.
const jobRetries = 6

// retries reports whether the Job of u may come before what it depends on, and
// fail for that: manifests have no order.
func (t *translator) retries(u *unit) bool {
	return !t.owned() && len(t.dependencies(u)) > 0
}

// jobRuns is how many pods of a Job run side by side.
func (t *translator) jobRuns(u *unit) int32 {
	n := int32(replicasOf(u))
	if d := u.svc.Deploy; d != nil && d.Mode == "global-job" {
		if t.target.Nodes > 0 {
			t.report.exact(u.path+".deploy.mode", fmt.Sprintf("a Job with %d pods, each on a node of its own", t.target.Nodes))
			return int32(t.target.Nodes)
		}
		t.report.approximated(u.path+".deploy.mode", fmt.Sprintf("a Job with %d pods: the number of nodes is not known", n), "set deploy.replicas to the number of nodes")
	}
	return n
}
