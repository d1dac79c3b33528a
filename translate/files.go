package translate

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// fileObject is a compose config or secret as an object of Kubernetes.
type fileObject struct {
	name   string // of the ConfigMap or Secret
	key    string // of the content in it
	object Object // nil when it is external
	ok     bool   // there is something to mount
}

// fileObjects are the configs and secrets of a project that some service uses.
type fileObjects struct {
	configs, secrets map[string]fileObject
}

// findFileObjects makes the objects of all configs and secrets in use.
func (t *translator) findFileObjects() fileObjects {
	f := fileObjects{configs: map[string]fileObject{}, secrets: map[string]fileObject{}}
	usedConfigs, usedSecrets := map[string]bool{}, map[string]bool{}
	use := func(spec *types.ContainerSpec) {
		for _, c := range spec.Configs {
			usedConfigs[c.Source] = true
		}
		for _, c := range spec.Secrets {
			usedSecrets[c.Source] = true
		}
	}
	for _, u := range t.units {
		if u.host.kind == none {
			continue
		}
		use(&u.svc.ContainerSpec)
		for i := range u.svc.PreStart {
			use(&u.svc.PreStart[i].ContainerSpec)
		}
	}
	configNames, secretNames := newNameSet(maxSubdomain), newNameSet(maxSubdomain)
	for _, key := range sortedKeys(usedConfigs) {
		f.configs[key] = t.fileObject(configNames, "configs."+key, key, types.FileObjectConfig(t.project.Configs[key]), false)
	}
	for _, key := range sortedKeys(usedSecrets) {
		f.secrets[key] = t.fileObject(secretNames, "secrets."+key, key, types.FileObjectConfig(t.project.Secrets[key]), true)
	}
	return f
}

// objects returns the objects to be made, configs first.
func (f fileObjects) objects() []Object {
	var out []Object
	for _, set := range []map[string]fileObject{f.configs, f.secrets} {
		for _, key := range sortedKeys(set) {
			if set[key].object != nil {
				out = append(out, set[key].object)
			}
		}
	}
	return out
}

// fileObject makes the object of one config or secret. A hash of the content
// in its name makes pods roll when the content changes.
func (t *translator) fileObject(names *nameSet, attribute, key string, c types.FileObjectConfig, secret bool) fileObject {
	kind := "ConfigMap"
	if secret {
		kind = "Secret"
	}
	if c.External {
		name := c.Name
		if name == "" {
			name = key
		}
		out := fileObject{name: name, key: dataKey(name), ok: true}
		done := fmt.Sprintf("the key %q of the %s %q, which must exist in namespace %q", out.key, kind, name, t.namespace)
		if isDNSName(name) {
			t.report.exact(attribute+".external", done)
		} else {
			out.name = shorten(sanitize(name), name, maxSubdomain)
			done = fmt.Sprintf("the key %q of the %s %q, which must exist in namespace %q", out.key, kind, out.name, t.namespace)
			t.report.approximated(attribute+".external", done, "")
		}
		if c.Name != "" {
			t.report.exact(attribute+".name", "the name of the "+kind)
		}
		return out
	}
	content, why := t.contentOf(c)
	if why != "" {
		t.report.block(attribute, Dropped, "left out: "+why, "")
		return fileObject{}
	}
	data := map[string][]byte{dataKey(key): content}
	name := names.take(suffixed(shorten(sanitize(key), key, maxLabel), "-"+dataHash(data), maxSubdomain))
	object := t.newData(name, t.labels(nil), data, secret)
	annotations := map[string]string{annotationName: key}
	foreignKeys(annotations, c.Labels, nil)
	object.SetAnnotations(annotations)
	return fileObject{name: name, key: dataKey(key), object: object, ok: true}
}

// contentOf returns the bytes of a config or secret, or why there are none.
func (t *translator) contentOf(c types.FileObjectConfig) (content []byte, why string) {
	if c.File == "" {
		if len(c.Content) > maxObject {
			return nil, fmt.Sprintf("%d bytes do not fit an object of Kubernetes (1 MiB)", len(c.Content))
		}
		return []byte(c.Content), ""
	}
	facts := t.in.Paths[c.File]
	switch {
	case !facts.Exists:
		return nil, fmt.Sprintf("there is no file %q", c.File)
	case facts.Dir:
		return nil, fmt.Sprintf("%q is a directory", c.File)
	case facts.Size > maxObject || int64(len(facts.Content)) < facts.Size:
		return nil, fmt.Sprintf("the %d bytes of %q do not fit an object of Kubernetes (1 MiB)", facts.Size, c.File)
	}
	return facts.Content, ""
}

// fileContent is contentOf for those who only look.
func (t *translator) fileContent(c types.FileObjectConfig) []byte {
	content, _ := t.contentOf(c)
	return content
}

// mountFiles mounts the configs and secrets of a container. Secrets with a
// plain target are one directory, /run/secrets; everything else is a file of
// its own, so that its other files in the image stay.
func (t *translator) mountFiles(p *podVolumes, l *mountList, s scope) {
	var together []corev1.VolumeProjection
	var paths []string
	for i, c := range s.spec.Secrets {
		attribute := fmt.Sprintf("%s.secrets[%d]", s.path, i)
		object := t.files.secrets[c.Source]
		if !object.ok {
			t.report.dropped(attribute, "left out: see secrets."+c.Source, "")
			continue
		}
		target := c.Target
		if target == "" {
			target = c.Source
		}
		mode := t.fileMode(attribute, types.FileReferenceConfig(c))
		if strings.HasPrefix(target, "/") && !strings.HasPrefix(path.Clean(target), secretsDir+"/") {
			t.mountOne(p, l, attribute, object, path.Clean(target), mode, true)
			continue
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(path.Clean("/"+target), secretsDir), "/")
		together = append(together, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: object.name},
			Items:                []corev1.KeyToPath{{Key: object.key, Path: rel, Mode: ptr(mode)}},
		}})
		paths = append(paths, fmt.Sprintf("%s=%s:%o", rel, object.name, mode))
	}
	if len(together) > 0 && l.free(s.path+".secrets", secretsDir) {
		source := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: uniqueTargets(together)}}
		name := p.add("secrets "+s.unit.path+" "+strings.Join(paths, " "), "secrets", source)
		l.add(corev1.VolumeMount{Name: name, MountPath: secretsDir, ReadOnly: true})
	}
	for i, c := range s.spec.Configs {
		attribute := fmt.Sprintf("%s.configs[%d]", s.path, i)
		object := t.files.configs[c.Source]
		if !object.ok {
			t.report.dropped(attribute, "left out: see configs."+c.Source, "")
			continue
		}
		target := c.Target
		if target == "" {
			target = c.Source
		}
		t.mountOne(p, l, attribute, object, path.Clean("/"+target), t.fileMode(attribute, types.FileReferenceConfig(c)), false)
	}
}

// secretsDir is where containers find their secrets.
const secretsDir = "/run/secrets"

// uniqueTargets keeps the last of several secrets with the same target.
func uniqueTargets(list []corev1.VolumeProjection) []corev1.VolumeProjection {
	last := map[string]int{}
	for i, v := range list {
		last[v.Secret.Items[0].Path] = i
	}
	var out []corev1.VolumeProjection
	for i, v := range list {
		if last[v.Secret.Items[0].Path] == i {
			out = append(out, v)
		}
	}
	return out
}

// mountOne mounts one config or secret as a single file.
func (t *translator) mountOne(p *podVolumes, l *mountList, attribute string, o fileObject, target string, mode int32, secret bool) {
	if !l.free(attribute, target) {
		return
	}
	file := path.Base(target)
	items := []corev1.KeyToPath{{Key: o.key, Path: file, Mode: ptr(mode)}}
	key := o.name + itemsKey(items)
	var name string
	if secret {
		name = p.add("secret "+key, "secret-"+o.key, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: o.name, Items: items}})
	} else {
		name = p.add("config "+key, "config-"+o.key, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: o.name}, Items: items,
		}})
	}
	l.add(corev1.VolumeMount{Name: name, MountPath: target, SubPath: file, ReadOnly: true})
}

// fileMode returns the mode of a mounted config or secret. Its owner is root
// whatever uid and gid say, so those who should own it get to read it.
func (t *translator) fileMode(attribute string, c types.FileReferenceConfig) int32 {
	mode := int32(0o444)
	if c.Mode != nil {
		mode = int32(*c.Mode) & 0o777
	}
	for _, id := range []struct{ key, value string }{{"uid", c.UID}, {"gid", c.GID}} {
		if n, err := strconv.Atoi(id.value); id.value == "" || err == nil && n == 0 {
			continue
		}
		mode = readable(mode)
		t.report.approximated(attribute+"."+id.key, fmt.Sprintf("owned by root; every user of the container may read it (mode %04o)", mode), "")
	}
	return mode
}
