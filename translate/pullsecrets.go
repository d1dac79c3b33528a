package translate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// PullSecretName is the Secret with the credentials of Target.PullSecret.
const PullSecretName = "berth-pull"

// pullSecrets are the Secrets that the images of a pod are pulled with: of the
// target, of the project, and of the services in it.
func (t *translator) pullSecrets(units []*unit) []corev1.LocalObjectReference {
	var names []string
	if t.target.PullSecret != nil {
		names = append(names, PullSecretName)
	}
	names = append(names, t.hints.ImagePullSecrets...)
	for _, u := range units {
		names = append(names, u.hints.ImagePullSecrets...)
		if len(u.hints.ImagePullSecrets) > 0 {
			t.report.exact(u.path+"."+extension+".imagePullSecrets", t.mustExist(u.hints.ImagePullSecrets))
		}
	}
	var out []corev1.LocalObjectReference
	for _, name := range names {
		if secret := (corev1.LocalObjectReference{Name: name}); !slices.Contains(out, secret) {
			out = append(out, secret)
		}
	}
	return out
}

// addPullSecrets notes Secrets that pods pull the image with.
func (i *Image) addPullSecrets(names []string) {
	for _, name := range names {
		if !slices.Contains(i.PullSecrets, name) {
			i.PullSecrets = append(i.PullSecrets, name)
		}
	}
}

// mustExist says what berth expects of Secrets that it does not make.
func (t *translator) mustExist(names []string) string {
	return fmt.Sprintf("imagePullSecrets: the Secrets %s, which must exist in namespace %q", strings.Join(names, ", "), t.namespace)
}

// pullSecret is the Secret with the target's credentials, if it has any.
func (t *translator) pullSecret() []Object {
	if len(t.hints.ImagePullSecrets) > 0 {
		t.report.exact(extension+".imagePullSecrets", t.mustExist(t.hints.ImagePullSecrets))
	}
	if t.target.PullSecret == nil {
		return nil
	}
	return []Object{&corev1.Secret{
		TypeMeta: typeMeta("v1", "Secret"), ObjectMeta: t.meta(PullSecretName, nil),
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: t.target.PullSecret},
	}}
}

// checkPullSecrets reports names that no Secret can have.
func (d *hintDecoder) checkPullSecrets(path string, names hintList) {
	for i, name := range names {
		if !isDNSName(name) {
			d.fail(itemPath(path, "imagePullSecrets", i), fmt.Sprintf("%q is no name of a Secret", name), "")
		}
	}
}
