package translate

import (
	"fmt"
	"path"
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
	t.reportLeft(attribute+".labels", c.Labels)
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
	var files []string
	owned := false
	for i, c := range s.spec.Secrets {
		f, ok := t.reference(itemPath(s.path, "secrets", i), "secrets", t.files.secrets, types.FileReferenceConfig(c))
		switch {
		case !ok:
		case strings.HasPrefix(f.target, "/") && !strings.HasPrefix(path.Clean(f.target)+"/", secretsDir+"/"):
			t.mountOne(p, l, s, f, true)
		default:
			rel := strings.TrimPrefix(strings.TrimPrefix(path.Clean("/"+f.target), secretsDir), "/")
			if rel == "" || strings.HasPrefix(rel, "..") {
				t.report.dropped(f.attribute, fmt.Sprintf("left out: a pod can have no secret %q in %s", f.target, secretsDir), "give it another target")
				continue
			}
			together = append(together, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: f.object.name},
				Items:                []corev1.KeyToPath{{Key: f.object.key, Path: rel, Mode: ptr(f.mode & 0o777)}},
			}})
			files = append(files, placed(uint32(f.mode), f.uid, f.gid, rel))
			owned = owned || f.owned()
		}
	}
	if len(together) > 0 && l.free(s.path+".secrets", secretsDir) {
		sources := uniqueTargets(together)
		name := p.add("secrets "+s.unit.path+" "+projectionKey(sources), "secrets", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}})
		if owned {
			name = p.place(s, name, files)
		}
		l.add(corev1.VolumeMount{Name: name, MountPath: secretsDir, ReadOnly: true})
	}
	for i, c := range s.spec.Configs {
		if f, ok := t.reference(itemPath(s.path, "configs", i), "configs", t.files.configs, types.FileReferenceConfig(c)); ok {
			t.mountOne(p, l, s, f, false)
		}
	}
}

// place has files of a volume copied into memory, where they can have an owner,
// before the container starts. It returns the volume that holds the copies.
func (p *podVolumes) place(s scope, from string, files []string) string {
	key := "placed " + s.path + " " + from + " " + strings.Join(files, " ")
	if name, known := p.find(key); known {
		return name
	}
	name := p.add(key, from+"-owned", memory(0))
	p.copies = append(p.copies, volumeCopy{scope: s, volume: name, from: from, place: files})
	return name
}

// projectionKey tells projected volumes apart.
func projectionKey(sources []corev1.VolumeProjection) string {
	var b strings.Builder
	for _, v := range sources {
		b.WriteString(v.Secret.Name + itemsKey(v.Secret.Items))
	}
	return b.String()
}

// fileMount is one entry of a container's configs or secrets.
type fileMount struct {
	attribute string
	object    fileObject
	target    string // as the file has it
	mode      int32
	uid, gid  int
}

// owned reports whether the file is to belong to somebody else than root.
func (f fileMount) owned() bool { return f.uid != 0 || f.gid != 0 }

// reference finds what an entry of configs or secrets is to mount; false, and
// reported, when there is nothing.
func (t *translator) reference(attribute, table string, objects map[string]fileObject, c types.FileReferenceConfig) (fileMount, bool) {
	f := fileMount{attribute: attribute, object: objects[c.Source], target: c.Target, mode: 0o444}
	if !f.object.ok {
		t.report.dropped(attribute, "left out: see "+table+"."+c.Source, "")
		return f, false
	}
	if f.target == "" {
		f.target = c.Source
	}
	if c.Mode != nil {
		f.mode = int32(*c.Mode) & 0o7777
	}
	f.uid = t.fileOwner(&f, "uid", c.UID)
	f.gid = t.fileOwner(&f, "gid", c.GID)
	if !f.owned() {
		f.mode &= 0o777
	}
	return f, true
}

// fileOwner reads the uid or gid of a file. A file in a volume of Kubernetes
// belongs to root; where the node agent cannot give it away, those who should
// own it get to read it.
func (t *translator) fileOwner(f *fileMount, key, value string) int {
	id, ok := parseUint(value)
	switch {
	case value == "" || ok && id == 0:
		return 0
	case ok && t.canPlace():
		t.report.exact(f.attribute+"."+key, fmt.Sprintf("the file's %s, %d", key, id))
		return id
	}
	f.mode = readable(f.mode & 0o777)
	t.report.approximated(f.attribute+"."+key, fmt.Sprintf("owned by root; every user of the container may read it (mode %04o)", f.mode), "")
	return 0
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
func (t *translator) mountOne(p *podVolumes, l *mountList, s scope, f fileMount, secret bool) {
	target := path.Clean("/" + f.target)
	if target == "/" {
		t.report.dropped(f.attribute, fmt.Sprintf("left out: the target %q is no file", f.target), "name a file in target")
		return
	}
	if !l.free(f.attribute, target) {
		return
	}
	file := path.Base(target)
	if strings.HasPrefix(file, "..") { // names of the kubelet's own in a volume
		file = dataKey(file)
	}
	items := []corev1.KeyToPath{{Key: f.object.key, Path: file, Mode: ptr(f.mode & 0o777)}}
	key := f.object.name + itemsKey(items)
	var name string
	if secret {
		name = p.add("secret "+key, "secret-"+f.object.key, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: f.object.name, Items: items}})
	} else {
		name = p.add("config "+key, "config-"+f.object.key, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: f.object.name}, Items: items,
		}})
	}
	if f.owned() {
		name = p.place(s, name, []string{placed(uint32(f.mode), f.uid, f.gid, file)})
	}
	l.add(corev1.VolumeMount{Name: name, MountPath: target, SubPath: file, ReadOnly: true})
}
