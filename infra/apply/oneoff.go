package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// labelRunOf is on pods of OneOff: the service they were made from. They do
// not carry the service's own label, so that no request for it reaches them.
const labelRunOf = "berth.dev/run-of"

// aliasLabel begins the labels by which a pod answers to a name that several
// services share.
const aliasLabel = "alias.berth.dev/"

// OneOff is a command to run in a pod of its own, made like those of a
// service. Kubernetes expands $(NAME) and $$ in its words: translate.Literal
// keeps them as they are.
type OneOff struct {
	Service    string
	Name       string   // of the pod; "" for a generated one
	Command    []string // replaces the service's command; nil keeps it
	Entrypoint []string // replaces the service's entrypoint; nil keeps it
	Env        map[string]string
	WorkingDir string
	User       *int64
	Group      *int64
	CapAdd     []string // without CAP_
	CapDrop    []string
	Labels     map[string]string // of the pod
	Mounts     []OneOffMount     // in place of the service's own at the same target
	UseAliases bool              // requests for the service reach the pod, too
	TTY, Stdin bool
}

// OneOffMount is a volume of the project, or a directory of the nodes, in the
// container.
type OneOffMount struct {
	Volume   string // as the compose file names it; "" for NodePath
	NodePath string
	Target   string
	ReadOnly bool
}

// labelVolume is on the claims of a project's volumes: the volume's name.
const labelVolume = "com.docker.compose.volume"

// Pod is a pod and its container.
type Pod struct{ Name, Container string }

// OneOff starts the command and returns its pod. The pod stays until Remove,
// or until the project is deleted.
func (p *Project) OneOff(ctx context.Context, o OneOff) (Pod, error) {
	workloads, err := p.workloads(ctx, o.Service)
	if err != nil {
		return Pod{}, err
	}
	template, err := templateOf(workloads[0])
	if err != nil {
		return Pod{}, err
	}
	pod := oneOffPod(template, o)
	pod.Namespace = p.namespace
	if err := p.mount(ctx, pod, o); err != nil {
		return Pod{}, err
	}
	m, err := p.client.Manifest(ctx, pod)
	if err != nil {
		return Pod{}, err
	}
	live, err := p.client.Create(ctx, m)
	if err != nil {
		return Pod{}, problem.New(fmt.Sprintf("run service %q", o.Service), err, "")
	}
	return Pod{live.GetName(), pod.Spec.Containers[0].Name}, nil
}

// templateOf is the pod template of a workload of any kind.
func templateOf(w *unstructured.Unstructured) (*corev1.PodTemplateSpec, error) {
	path := []string{"spec", "template"}
	if w.GetKind() == "CronJob" {
		path = []string{"spec", "jobTemplate", "spec", "template"}
	}
	raw, _, err := unstructured.NestedMap(w.Object, path...)
	if err != nil {
		return nil, err
	}
	template := &corev1.PodTemplateSpec{}
	return template, runtime.DefaultUnstructuredConverter.FromUnstructured(raw, template)
}

// oneOffPod makes the pod: the service's, with the command, one container,
// and nothing by which others would find it.
func oneOffPod(template *corev1.PodTemplateSpec, o OneOff) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Labels: map[string]string{}, Annotations: template.Annotations}, Spec: template.Spec}
	if o.Name == "" {
		pod.GenerateName = o.Service + "-run-"
		pod.GenerateName = strings.ToLower(strings.ReplaceAll(pod.GenerateName, "_", "-"))
	}
	for key, value := range template.Labels {
		findable := key == model.LabelService || strings.HasPrefix(key, aliasLabel)
		if (!findable || o.UseAliases) && !slices.Contains(jobLabels(), key) {
			pod.Labels[key] = value
		}
	}
	maps.Copy(pod.Labels, o.Labels)
	pod.Labels[LabelOneOff], pod.Labels[labelRunOf] = "True", o.Service
	own := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	c := pod.Spec.Containers[ownContainer(own, o.Service)]
	pod.Spec.Containers = []corev1.Container{c}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Hostname, pod.Spec.Subdomain = "", ""
	applyOneOff(&pod.Spec.Containers[0], o)
	return pod
}

func applyOneOff(c *corev1.Container, o OneOff) {
	c.Ports, c.ReadinessProbe, c.StartupProbe, c.LivenessProbe, c.Lifecycle = nil, nil, nil, nil, nil
	c.TTY, c.Stdin, c.StdinOnce = o.TTY, o.Stdin, o.Stdin
	init, entrypoint := underSupervisor(c.Command)
	if o.Entrypoint != nil {
		entrypoint, c.Args = o.Entrypoint, nil
	}
	if o.Command != nil {
		c.Args = o.Command
	}
	c.Command = slices.Concat(init, entrypoint)
	if o.WorkingDir != "" {
		c.WorkingDir = o.WorkingDir
	}
	for _, key := range slices.Sorted(maps.Keys(o.Env)) {
		c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == key })
		c.Env = append(c.Env, corev1.EnvVar{Name: key, Value: o.Env[key]})
	}
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	if o.User != nil {
		c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup = o.User, o.Group
	}
	if len(o.CapAdd)+len(o.CapDrop) > 0 {
		if c.SecurityContext.Capabilities == nil {
			c.SecurityContext.Capabilities = &corev1.Capabilities{}
		}
		has := c.SecurityContext.Capabilities
		for _, name := range o.CapAdd {
			has.Add = append(has.Add, corev1.Capability(name))
		}
		for _, name := range o.CapDrop {
			has.Drop = append(has.Drop, corev1.Capability(name))
		}
	}
}

// supervisor is how the command of a container begins whose program berth
// supervises; the program follows after "--".
const supervisor = "/.berth/init"

// underSupervisor parts a command into the supervisor's own, which ends with the
// program now instead of waiting for its next start, and the program's.
func underSupervisor(command []string) (init, program []string) {
	end := slices.Index(command, "--")
	if len(command) == 0 || command[0] != supervisor || end < 0 {
		return nil, command
	}
	init, program = slices.Clone(command[:end+1]), command[end+1:]
	if i := slices.Index(init, "--restart"); i >= 0 {
		init = slices.Replace(init, i, i+2, "--once")
	}
	return init, program
}

// restartsInPlace reports whether the supervisor of command starts the program
// again in the same container when it is asked to.
func restartsInPlace(command []string) bool {
	end := slices.Index(command, "--")
	return end >= 0 && command[0] == supervisor && slices.Contains(command[:end], "--restart")
}

// mount adds the mounts of o to the pod.
func (p *Project) mount(ctx context.Context, pod *corev1.Pod, o OneOff) error {
	c := &pod.Spec.Containers[0]
	for i, m := range o.Mounts {
		v := corev1.Volume{Name: fmt.Sprintf("run-%d", i)}
		if m.Volume == "" {
			v.HostPath = &corev1.HostPathVolumeSource{Path: m.NodePath}
		} else {
			claims, err := kube.List[corev1.PersistentVolumeClaim](ctx, p.client, p.namespace, labelVolume+"="+m.Volume)
			if err != nil {
				return err
			}
			if len(claims) == 0 {
				return problem.New(fmt.Sprintf("mount volume %q", m.Volume), errors.New("the project has no such volume in the cluster"), "volumes of the compose file come to be with `berth up`")
			}
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claims[0].Name}
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, v)
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(x corev1.VolumeMount) bool { return x.MountPath == m.Target })
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: m.Target, ReadOnly: m.ReadOnly})
	}
	return nil
}

// State is how a pod of OneOff is now.
func (p *Project) State(ctx context.Context, pod Pod) (model.PodState, error) {
	live, err := kube.Get[corev1.Pod](ctx, p.client, p.namespace, pod.Name)
	if err != nil {
		return model.PodState{}, err
	}
	return podState(live, live.Labels[labelRunOf], time.Now()), nil
}

// AwaitRun returns when the container of a pod runs or has run, or fails with
// the reason why it cannot.
func (p *Project) AwaitRun(ctx context.Context, pod Pod, sink progress.Sink) error {
	task := progress.Start(sink, "run "+pod.Name, "starting")
	seen, begun := map[string]time.Time{}, time.Now()
	err := until(ctx, func() (bool, error) {
		live, err := kube.Get[corev1.Pod](ctx, p.client, p.namespace, pod.Name)
		if err != nil {
			return false, err
		}
		if t := neverStarted(live); t != nil {
			return false, problem.New("run pod "+pod.Name, errors.New(strings.TrimSpace(t.Message)), "check the command, and the service's entrypoint")
		}
		if podStarted(live) || live.Status.Phase == corev1.PodSucceeded || live.Status.Phase == corev1.PodFailed {
			return true, nil
		}
		task.Update(startingText(live))
		if t := podTrouble(live, pod.Container); t != nil {
			task.Update(firstLine(t.text))
			if bad := ripe([]trouble{*t}, seen, begun, time.Now()); bad != nil {
				return false, problem.New("run pod "+pod.Name, &Failure{Pod: pod.Name, Container: bad.container, Reason: bad.text, ExitCode: bad.exit}, bad.hint)
			}
		}
		return false, nil
	})
	return task.End(err, "running")
}

// neverStarted is the end of a container whose program could not be started.
func neverStarted(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
			return t
		}
	}
	return nil
}

// AwaitEnd returns the exit status of a pod's container once it has ended.
func (p *Project) AwaitEnd(ctx context.Context, pod Pod) (int, error) {
	code := 0
	err := until(ctx, func() (bool, error) {
		live, err := kube.Get[corev1.Pod](ctx, p.client, p.namespace, pod.Name)
		if err != nil {
			return false, err
		}
		for _, c := range live.Status.ContainerStatuses {
			if c.Name == pod.Container && c.State.Terminated != nil {
				code = int(c.State.Terminated.ExitCode)
				return true, nil
			}
		}
		if live.Status.Phase == corev1.PodFailed {
			return false, problem.New("run pod "+pod.Name, fmt.Errorf("%s %s", live.Status.Reason, live.Status.Message), "")
		}
		return false, nil
	})
	return code, err
}

// Remove deletes a pod at once.
func (p *Project) Remove(ctx context.Context, pod Pod) error {
	var now int64
	return p.client.Delete(ctx, model.ObjectKey{Kind: "Pod", Namespace: p.namespace, Name: pod.Name}, kube.DeleteOptions{Grace: &now})
}
