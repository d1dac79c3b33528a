package translate_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/translate"
)

// Credentials go into a cluster only where the caller hands them in, and then
// every pod pulls with them, first of all Secrets.
func TestCredentialsOfTheTargetBecomeASecretThatPodsPullWith(t *testing.T) {
	in, _ := goldenInput(t, "testdata/golden/x-berth")
	for _, credentials := range [][]byte{nil, []byte(`{"auths":{}}`)} {
		r, err := translate.Translate(in, translate.Target{Kind: translate.Portable, IngressDomain: "example.com", PullSecret: credentials})
		if err != nil {
			t.Fatal(err)
		}
		secrets, pods := 0, 0
		for _, o := range r.Objects() {
			switch o := o.(type) {
			case *corev1.Secret:
				if o.Name == translate.PullSecretName {
					secrets++
					if o.Type != corev1.SecretTypeDockerConfigJson || string(o.Data[corev1.DockerConfigJsonKey]) != string(credentials) {
						t.Errorf("the secret is %s %s", o.Type, o.Data)
					}
				}
			case *appsv1.Deployment:
				pods++
				i := slices.Index(o.Spec.Template.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: translate.PullSecretName})
				if want := map[bool]int{true: 0, false: -1}[credentials != nil]; i != want {
					t.Errorf("deployment %s pulls with %v", o.Name, o.Spec.Template.Spec.ImagePullSecrets)
				}
			}
		}
		if want := map[bool]int{true: 1, false: 0}[credentials != nil]; secrets != want || pods == 0 {
			t.Errorf("%d secrets, want %d; %d deployments", secrets, want, pods)
		}
	}
}
