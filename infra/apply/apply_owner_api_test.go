package apply

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func testRefusedStaysStopped(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, deployment("web", "web:1", 2))
	if err := p.Stop(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	refused := deployment("web", "", 2)
	if _, err := p.Apply(t.Context(), []model.Object{refused}); err == nil {
		t.Fatal("a container without an image was accepted")
	}
	if n := replicas(t, p, "web"); n != 0 {
		t.Errorf("the stopped service has %d pods of its old definition", n)
	}
	equal(t, "changes", mustApply(t, p, deployment("web", "web:2", 2)), "Deployment/web updated")
	if n := replicas(t, p, "web"); n != 2 {
		t.Errorf("it has %d pods", n)
	}
	equal(t, "once more", mustApply(t, p, deployment("web", "web:2", 2)), "Deployment/web unchanged")
}

func testOtherProject(t *testing.T, a api) {
	first := a.project(t)
	mustApply(t, first, configMap("c", "first"), deployment("web", "web:1", 1))
	second := New(a.client, "another", first.namespace, progress.Discard)
	_, applied := second.Apply(t.Context(), []model.Object{configMap("c", "second")})
	_, pruned := second.Prune(t.Context(), nil, nil)
	_, deleted := second.Delete(t.Context(), true)
	for what, err := range map[string]error{"apply": applied, "prune": pruned, "delete": deleted} {
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("project %q is in it", first.name)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	equal(t, "the first project", mustApply(t, first, configMap("c", "first"), deployment("web", "web:1", 1)), "ConfigMap/c unchanged, Deployment/web unchanged")
}

func testForeignObject(t *testing.T, a api) {
	p := a.project(t)
	mustApply(t, p, configMap("ours", "1"))
	create := func(name string, labels map[string]string) {
		m, err := a.client.Manifest(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace, Labels: labels}, Data: map[string]string{"value": "theirs"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.client.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	create("theirs", nil)
	create("translated", map[string]string{model.LabelProject: p.name})
	for _, objects := range [][]model.Object{
		{configMap("theirs", "1")},
		{configMap("theirs", "1"), configMap("a", "1"), configMap("b", "1"), configMap("d", "1"), configMap("e", "1")}, // so many are listed
	} {
		_, err := p.Apply(t.Context(), objects)
		if err == nil || !strings.Contains(err.Error(), "not the project's") {
			t.Errorf("%d objects: %v", len(objects), err)
		}
	}
	live, err := kube.Get[corev1.ConfigMap](t.Context(), a.client, p.namespace, "theirs")
	if err != nil || live.Data["value"] != "theirs" || live.Labels[labelPartOf] != "" {
		t.Errorf("it is now %v, %v (%v)", live.Data, live.Labels, err)
	}
	equal(t, "what kubectl made of our manifests", mustApply(t, p, configMap("translated", "1")), "ConfigMap/translated updated")
}

func testPruneKeepsServices(t *testing.T, a api) {
	p := a.project(t)
	worker := deployment("worker", "w:1", 1)
	worker.Spec.Template.Labels["network/back"] = "true"
	worker.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "needed"}}}}}
	policy := func(name string) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"network/" + name: "true"}}}}
	}
	mustApply(t, p, worker, configMap("needed", "1"), configMap("unused", "1"), policy("back"), policy("gone"))
	changes, err := p.Prune(t.Context(), nil, []string{"worker"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", text(changes), "ConfigMap/unused deleted, NetworkPolicy/gone deleted")
}

func testPatientlyServed(t *testing.T, a api) {
	p := a.project(t)
	class := func(patient string) *networkingv1.IngressClass {
		return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "patient-or-not", Annotations: map[string]string{annotationPatient: patient}},
			Spec: networkingv1.IngressClassSpec{Controller: "example.org/none"}}
	}
	name := "patient-or-not"
	ingress := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{model.LabelService: "web"}},
		Spec: networkingv1.IngressSpec{IngressClassName: &name, DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}
	asked := func(service string) bool {
		t.Helper()
		yes, err := p.patientlyServed(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	mustApply(t, p, ingress)
	if asked("web") {
		t.Error("there is no such class")
	}
	mustApply(t, p, class("false"))
	if asked("web") {
		t.Error("the class is not patient")
	}
	mustApply(t, p, class("true"))
	if !asked("web") || asked("worker") {
		t.Errorf("web %t, worker %t", asked("web"), asked("worker"))
	}
}
