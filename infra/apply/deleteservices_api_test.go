package apply

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

func testDeleteServices(t *testing.T, a api) {
	p := a.project(t)
	mounting := func(name, network string, volumes ...string) model.Object {
		d := deployment(name, name+":1", 1)
		d.Spec.Template.Labels["network/"+network] = "true"
		for _, v := range volumes {
			d.Spec.Template.Spec.Volumes = append(d.Spec.Template.Spec.Volumes, corev1.Volume{Name: v, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: v}}})
		}
		d.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "of-" + name}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "of-both"}}},
		}
		return d
	}
	policy := func(network string) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: network},
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"network/" + network: "true"}}}}
	}
	alias := service("alias", false)
	alias.Labels, alias.Spec.Selector = nil, map[string]string{"network/back": "true"}
	everything := []model.Object{
		namespace(p), claim("data", "1Gi"), claim("both", "1Gi"), claim("db", "1Gi"), configMap("of-db", "1"), configMap("of-web", "1"), configMap("of-both", "1"), configMap("of-none", "1"),
		policy("front"), policy("back"), alias, mounting("db", "back", "data", "both"), service("db", false), mounting("web", "front", "both"), service("web", false),
	}
	mustApply(t, p, everything...)
	changes, err := p.DeleteServices(t.Context(), []string{"db", "never-there"}, false)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "down db", text(changes), "Deployment/db deleted, ConfigMap/of-db deleted, NetworkPolicy/back deleted, Service/alias deleted, Service/db deleted")
	pods, err := kube.List[corev1.Pod](t.Context(), a.client, p.namespace, model.LabelService+"=db")
	if err != nil || len(pods) > 0 {
		t.Errorf("%d pods are left, %v", len(pods), err)
	}
	mustApply(t, p, everything...)
	changes, err = p.DeleteServices(t.Context(), []string{"db"}, true)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "with its volumes", text(changes), "Deployment/db deleted, ConfigMap/of-db deleted, NetworkPolicy/back deleted, PersistentVolumeClaim/data deleted, Service/alias deleted, Service/db deleted")
	changes, err = p.DeleteServices(t.Context(), []string{"db"}, true)
	if err != nil || len(changes) > 0 {
		t.Errorf("a second time: %s, %v", text(changes), err)
	}
}
