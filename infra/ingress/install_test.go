package ingress

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

var _ addon.Inspector = (*docker.Client)(nil)

func TestManifestsServeTheIngressNodesPorts(t *testing.T) {
	for _, kind := range []Kind{Nginx, Traefik} {
		t.Run(string(kind), func(t *testing.T) {
			objects, err := manifest(Controller{Kind: kind, Image: "example.org/controller:1"})
			if err != nil {
				t.Fatal(err)
			}
			if objects[0].GetObjectKind().GroupVersionKind().Kind != "Namespace" {
				t.Error("the first object must be the namespace")
			}
			pod := podTemplate(t, objects)
			if pod.NodeSelector["ingress-ready"] != "true" {
				t.Errorf("node selector %v", pod.NodeSelector)
			}
			if image := pod.Containers[0].Image; image != "example.org/controller:1" {
				t.Errorf("image %q", image)
			}
			ports := map[int32]int32{}
			for _, p := range pod.Containers[0].Ports {
				ports[p.HostPort] = p.ContainerPort
			}
			if ports[80] != 80 || ports[443] != 443 {
				t.Errorf("host ports %v", ports)
			}
			if len(pod.Tolerations) == 0 {
				t.Error("the ingress node is a control plane: its taint must be tolerated")
			}
		})
	}
}

func podTemplate(t *testing.T, objects []model.Object) corev1.PodSpec {
	t.Helper()
	class := false
	var pod *corev1.PodSpec
	for _, o := range objects {
		switch o.GetObjectKind().GroupVersionKind().Kind {
		case "IngressClass":
			class = o.GetName() == "nginx"
		case "Deployment":
			var d appsv1.Deployment
			err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.(*unstructured.Unstructured).Object, &d, true)
			if err != nil {
				t.Fatal(err)
			}
			pod = &d.Spec.Template.Spec
		}
	}
	if !class || pod == nil {
		t.Fatal("the manifest needs an IngressClass nginx and a Deployment")
	}
	return *pod
}

func TestAnswersTakesAnyHTTPAnswer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	port := server.Listener.Addr().(*net.TCPAddr).Port
	if !Answers(t.Context(), port) {
		t.Error("404 is an answer")
	}
	server.Close()
	if Answers(t.Context(), port) {
		t.Error("nobody listens")
	}
}

func TestNoneInstallsNothingAndSaysSo(t *testing.T) {
	var said []progress.Event
	sink := progress.SinkFunc(func(e progress.Event) { said = append(said, e) })
	if err := Install(t.Context(), nil, Controller{Kind: None, Reason: "asked for"}, 80, sink); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || said[0].State != progress.Note {
		t.Errorf("events: %+v", said)
	}
}

func TestPodStateNamesTheReason(t *testing.T) {
	waiting := func(reason, message string) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}}
	}
	for want, pod := range map[string]corev1.Pod{
		"ErrImagePull: no such host":      waiting("ErrImagePull", "no such host"),
		"its container is being created":  waiting("ContainerCreating", ""),
		"not scheduled: no node is ready": {Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no node is ready"}}}},
		"it is starting":                  {Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}},
	} {
		if got := podState([]corev1.Pod{pod}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
