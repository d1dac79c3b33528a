package agentset

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// daemonSet is what a set of the options applies.
func daemonSet(t *testing.T, o Options) (*appsv1.DaemonSet, []model.Object) {
	t.Helper()
	set, err := New(nil, o, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range set.objects {
		if d, ok := object.(*appsv1.DaemonSet); ok {
			return d, set.objects
		}
	}
	t.Fatal("no DaemonSet")
	return nil, nil
}

func TestAgentComesToTheNodesThatRunPods(t *testing.T) {
	gpu := corev1.Taint{Key: "gpu", Value: "a100", Effect: corev1.TaintEffectNoSchedule}
	d, _ := daemonSet(t, Options{Image: "agent:1", Nodes: []corev1.Node{
		{Spec: corev1.NodeSpec{Taints: []corev1.Taint{gpu}}},
		{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "gpu", Value: "l4", Effect: corev1.TaintEffectNoSchedule}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
	}})
	pod := d.Spec.Template.Spec
	want := []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	if !slices.Equal(pod.Tolerations, want) {
		t.Errorf("tolerations are %+v", pod.Tolerations)
	}
	if c := pod.Containers[0]; c.Image != "agent:1" || !*c.SecurityContext.Privileged || !pod.HostPID {
		t.Errorf("the container is %+v", c)
	}
	if len(pod.ImagePullSecrets) > 0 {
		t.Errorf("pull secrets that nobody asked for: %v", pod.ImagePullSecrets)
	}
}

func TestAgentIsPulledWithTheUsersCredentials(t *testing.T) {
	d, objects := daemonSet(t, Options{Image: "agent:1", PullSecret: []byte("{}")})
	secret, ok := objects[len(objects)-1].(*corev1.Secret)
	if !ok || string(secret.Data[corev1.DockerConfigJsonKey]) != "{}" || secret.Namespace != d.Namespace {
		t.Fatalf("the last object is %+v", objects[len(objects)-1])
	}
	if s := d.Spec.Template.Spec.ImagePullSecrets; len(s) != 1 || s[0].Name != secret.Name {
		t.Errorf("the pods name %v", s)
	}
}

func TestRunsEverywhere(t *testing.T) {
	for name, c := range map[string]struct {
		status appsv1.DaemonSetStatus
		want   bool
	}{
		"not seen yet":  {appsv1.DaemonSetStatus{}, false},
		"on some nodes": {appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 2}, false},
		"old pods":      {appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 1, NumberReady: 3}, false},
		"on all":        {appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberReady: 3}, true},
	} {
		d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: c.status}
		if got := runsEverywhere(d); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
