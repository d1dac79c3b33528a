package translate

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// addFiles makes an object that holds files of u and returns the volume of
// the pod that shows them, below prefix. Every user of the container may read them; who may
// run them stays as it is.
func (t *translator) addFiles(p *podVolumes, u *unit, base string, files map[string]FileFacts, prefix string, secret bool) string {
	data := map[string][]byte{}
	var items []corev1.KeyToPath
	for _, name := range sortedKeys(files) {
		key := dataKey(name)
		for _, taken := data[key]; taken; _, taken = data[key] {
			key = dataKey(hash(8, name) + "-" + key)
		}
		data[key] = files[name].Content
		items = append(items, corev1.KeyToPath{Key: key, Path: prefix + name, Mode: ptr(readable(int32(files[name].Mode & 0o777)))})
	}
	name := suffixed(u.kube+"-"+sanitize(base), "-"+dataHash(data), maxSubdomain)
	if by := t.copiedBy[name]; by != nil && by != u { // "a" with "b-c", "a-b" with "c"
		name = suffixed(u.kube+"-"+sanitize(base), "-"+hash(8, u.kube, dataHash(data)), maxSubdomain)
	}
	t.copiedBy[name] = u
	object := t.newData(name, t.labels(u), data, secret)
	if !slices.ContainsFunc(p.objects, func(o Object) bool { return o.GetName() == name && (secret == isSecret(o)) }) {
		p.objects = append(p.objects, object)
	}
	key := fmt.Sprintf("files %t %s%s", secret, name, itemsKey(items))
	if secret {
		return p.add(key, base, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: items}})
	}
	return p.add(key, base, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}})
}

// isSecret reports whether o is a Secret.
func isSecret(o Object) bool {
	_, ok := o.(*corev1.Secret)
	return ok
}

// itemsKey tells apart two uses of the same data under different paths.
func itemsKey(items []corev1.KeyToPath) string {
	var b strings.Builder
	for _, i := range items {
		fmt.Fprintf(&b, " %s=%s:%o", i.Key, i.Path, *i.Mode)
	}
	return b.String()
}

// readable lets every user read a file, and run it if its owner may.
func readable(mode int32) int32 {
	if mode&0o100 != 0 {
		return mode | 0o555
	}
	return mode | 0o444
}

// dataKey returns name as a key of a ConfigMap or Secret.
func dataKey(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	key := b.String()
	if key == "" || key == "." || strings.HasPrefix(key, "..") {
		key = "file-" + strings.TrimLeft(key, ".")
	}
	return shorten(key, name, maxSubdomain)
}

// dataHash is a short hash of the data of an object.
func dataHash(data map[string][]byte) string {
	var parts []string
	for _, key := range sortedKeys(data) {
		parts = append(parts, key, string(data[key]))
	}
	return hash(8, parts...)
}

// newData makes an immutable ConfigMap or Secret with exactly these bytes.
func (t *translator) newData(name string, labels map[string]string, data map[string][]byte, secret bool) Object {
	meta := metav1.ObjectMeta{Name: name, Namespace: t.namespace, Labels: labels}
	if secret {
		return &corev1.Secret{TypeMeta: typeMeta("v1", "Secret"), ObjectMeta: meta, Data: data, Type: corev1.SecretTypeOpaque, Immutable: ptr(true)}
	}
	c := &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: meta, Immutable: ptr(true)}
	for key, value := range data {
		if utf8.Valid(value) {
			if c.Data == nil {
				c.Data = map[string]string{}
			}
			c.Data[key] = string(value)
			continue
		}
		if c.BinaryData == nil {
			c.BinaryData = map[string][]byte{}
		}
		c.BinaryData[key] = value
	}
	return c
}
