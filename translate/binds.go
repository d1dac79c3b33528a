package translate

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxObject is how much a ConfigMap or Secret holds, in bytes.
const maxObject = 1 << 20

// mountBind mounts a path of the host. What it becomes depends on what is
// there: a live directory of an owned cluster, a copy in a ConfigMap or
// Secret, a claim; never an empty directory in place of the user's files.
func (t *translator) mountBind(p *podVolumes, l *mountList, s scope, attribute string, v types.ServiceVolumeConfig) {
	b := bind{scope: s, attribute: attribute, volume: v, facts: t.in.Paths[v.Source]}
	d := hintDecoder{positions: t.in.Positions}
	var hints mountHints
	d.decode(attribute+"."+extension, v.Extensions[extension], &hints)
	node, live := t.nodePath(v.Source)
	switch {
	case hints.As == "skip":
		t.report.exact(attribute, "left out, as x-berth says")
	case hints.As == "claim":
		t.mountClaim(p, l, b)
	case live && hints.As != "snapshot":
		t.mountLive(p, l, b, node)
	case b.facts.Socket || isSocket(v.Source):
		t.reportSocket(b)
	case ofTheNode(v.Source):
		t.mountHostPath(p, l, b, v.Source, corev1.HostPathUnset)
		t.report.approximated(attribute, "the node's own "+v.Source+", not your machine's", "")
	case b.facts.Exists && !b.facts.Dir:
		t.mountFile(p, l, b)
	case b.facts.Exists && b.facts.Whole && len(b.facts.Files) > 0 && (v.ReadOnly || hints.As == "snapshot"):
		t.mountSnapshot(p, l, b)
	case b.facts.Exists && (len(b.facts.Files) > 0 || !b.facts.Whole):
		t.mountDirectory(p, l, b)
	default:
		t.mountEmpty(p, l, b)
	}
}

// bind is one bind mount.
type bind struct {
	scope     scope
	attribute string
	volume    types.ServiceVolumeConfig
	facts     PathFacts
}

// nodePath returns where the nodes see a path of the host, if they do.
func (t *translator) nodePath(host string) (string, bool) {
	if !t.owned() {
		return "", false
	}
	best, node := -1, ""
	for _, m := range t.target.Mounts {
		root := strings.TrimRight(m.Host, "/")
		if (host == root || strings.HasPrefix(host, root+"/")) && len(root) > best {
			best, node = len(root), path.Join(m.Node, strings.TrimPrefix(host, root))
		}
	}
	return node, best >= 0
}

// mountLive mounts a path that the nodes share with the host.
func (t *translator) mountLive(p *podVolumes, l *mountList, b bind, node string) {
	kind := corev1.HostPathDirectoryOrCreate
	switch {
	case b.facts.Socket:
		kind = corev1.HostPathSocket
	case b.facts.Exists && !b.facts.Dir:
		kind = corev1.HostPathFile
	case !b.facts.Exists && isSocket(b.volume.Source):
		kind = corev1.HostPathSocket
	case b.volume.Bind != nil && !bool(b.volume.Bind.CreateHostPath):
		kind = corev1.HostPathDirectory
	}
	t.mountHostPath(p, l, b, node, kind)
	t.report.exact(b.attribute, "live: the nodes see the host's "+b.volume.Source)
}

func (t *translator) mountHostPath(p *podVolumes, l *mountList, b bind, node string, kind corev1.HostPathType) {
	source := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: node, Type: ptr(kind)}}
	m := corev1.VolumeMount{
		Name: p.add("host "+string(kind)+" "+node, "host-"+path.Base(node), source), MountPath: b.volume.Target, ReadOnly: b.volume.ReadOnly,
	}
	if o := b.volume.Bind; o != nil {
		m.MountPropagation = t.propagation(b)
		if o.Recursive == "readonly" && b.volume.ReadOnly {
			m.RecursiveReadOnly = ptr(corev1.RecursiveReadOnlyIfPossible)
		}
	}
	l.add(b.attribute, m)
}

// propagation translates bind.propagation. Two-way propagation is for
// privileged containers only.
func (t *translator) propagation(b bind) *corev1.MountPropagationMode {
	switch b.volume.Bind.Propagation {
	case types.PropagationRSlave, types.PropagationSlave:
		return ptr(corev1.MountPropagationHostToContainer)
	case types.PropagationRShared, types.PropagationShared:
		if b.scope.spec.Privileged {
			return ptr(corev1.MountPropagationBidirectional)
		}
		t.report.approximated(b.attribute+".bind.propagation", "mounts of the host show in the container; the other way needs privileged", "")
		return ptr(corev1.MountPropagationHostToContainer)
	}
	return nil
}

// mountFile mounts a copy of one file, byte for byte.
func (t *translator) mountFile(p *podVolumes, l *mountList, b bind) {
	if b.facts.Size > maxObject || int64(len(b.facts.Content)) < b.facts.Size {
		t.lost(b, fmt.Sprintf("left out: a file of %d bytes does not fit a ConfigMap (1 MiB)", b.facts.Size))
		return
	}
	key := dataKey(path.Base(b.volume.Source))
	files := map[string]FileFacts{key: {Mode: b.facts.Mode, Content: b.facts.Content}}
	name := t.addFiles(p, b.scope.unit, path.Base(b.volume.Source), files, b.facts.Mode&0o077 == 0 && b.facts.Mode != 0)
	l.add(b.attribute, corev1.VolumeMount{Name: name, MountPath: b.volume.Target, SubPath: key, ReadOnly: true})
	if b.volume.ReadOnly {
		t.report.approximated(b.attribute, "a copy of the file; a change of it reaches the pod with the next berth up", t.mountCure(b, "to share it live"))
		return
	}
	t.report.approximated(b.attribute, "a read-only copy of the file; what the container writes is lost", t.mountCure(b, "to share it live"))
}

// mountSnapshot mounts a read-only copy of a small directory.
func (t *translator) mountSnapshot(p *podVolumes, l *mountList, b bind) {
	files := map[string]FileFacts{}
	total := 0
	for name, f := range b.facts.Files {
		files[name] = f
		total += len(f.Content) + len(name)
	}
	if total > maxObject {
		t.mountDirectory(p, l, b)
		return
	}
	name := t.addFiles(p, b.scope.unit, path.Base(b.volume.Source), files, false)
	if l.add(b.attribute, corev1.VolumeMount{Name: name, MountPath: b.volume.Target, ReadOnly: true}) {
		t.report.approximated(b.attribute, fmt.Sprintf("a read-only copy of its %d files; changes reach the pod with the next berth up", len(files)), t.mountCure(b, "to share it live"))
	}
}

// mountDirectory deals with a directory that has files and cannot be shared
// or copied.
func (t *translator) mountDirectory(p *podVolumes, l *mountList, b bind) {
	switch {
	case t.owned():
		t.lost(b, "left out: the nodes do not see the directory, and a copy would not keep what is written to it")
	case b.scope.unit.svc.Build != nil:
		t.report.approximated(b.attribute, "left out: the pod has what the image was built with at "+b.volume.Target, "COPY the files in the Dockerfile")
	default:
		t.mountClaim(p, l, b)
		t.report.approximated(b.attribute, "a claim, which starts without the directory's files", "copy them: kubectl cp "+b.volume.Source+" POD:"+b.volume.Target)
	}
}

// mountEmpty deals with a directory that does not exist yet or holds nothing.
func (t *translator) mountEmpty(p *podVolumes, l *mountList, b bind) {
	t.mountClaim(p, l, b)
	done := "a claim in place of the directory, which holds nothing yet: data stays in the cluster"
	if t.owned() && !b.volume.ReadOnly {
		t.report.block(b.attribute, NeedsCluster, done, t.mountCure(b, "to have it on the host, or use a named volume"))
		return
	}
	t.report.approximated(b.attribute, done, t.mountCure(b, "to have it on the host"))
}

// mountClaim mounts a claim in place of a directory of the host. Services that
// bind the same directory share it.
func (t *translator) mountClaim(p *podVolumes, l *mountList, b bind) {
	claim := t.bindClaims.claim(b.volume.Source)
	p.pinned = true
	name := p.add("claim "+claim, claim, claimSource(claim))
	l.add(b.attribute, corev1.VolumeMount{Name: name, MountPath: b.volume.Target, ReadOnly: b.volume.ReadOnly})
}

// lost reports a bind mount that is missing in the pod.
func (t *translator) lost(b bind, done string) {
	if t.owned() {
		t.report.block(b.attribute, NeedsCluster, done, t.mountCure(b, "to share it live"))
		return
	}
	t.report.block(b.attribute, Dropped, done, "put the files into the image or a volume")
}

// mountCure is the command that makes a bind mount live.
func (t *translator) mountCure(b bind, why string) string {
	if !t.owned() {
		return ""
	}
	dir := b.volume.Source
	if b.facts.Exists && !b.facts.Dir {
		dir = path.Dir(dir)
	}
	return "berth cluster create --mount " + dir + " " + why
}

// reportSocket says why a socket of the host is missing.
func (t *translator) reportSocket(b bind) {
	if t.owned() {
		t.report.needsCluster(b.attribute, "left out: the pod cannot reach the host's socket "+b.volume.Source, "berth cluster create --mount "+b.volume.Source)
		return
	}
	t.report.dropped(b.attribute, "left out: pods have no socket "+b.volume.Source+" of the engine; what controls containers through it will not work", "")
}

// isSocket reports whether a path is where an engine's socket is.
func isSocket(host string) bool {
	return strings.HasSuffix(host, ".sock")
}

// ofTheNode reports whether a path describes a machine rather than holding
// files of the user, so that a pod must see its node's.
func ofTheNode(host string) bool {
	if host == "/" {
		return true
	}
	for _, root := range []string{"/proc", "/sys", "/dev", "/lib/modules", "/usr/src", "/run/udev", "/boot", "/run/dbus", "/var/run/dbus", "/etc/machine-id", "/var/log", "/var/lib/docker", "/var/run", "/run"} {
		if host == root || strings.HasPrefix(host, root+"/") {
			return true
		}
	}
	return false
}

// bindClaims names the claims that stand for directories of the host.
type bindClaims struct {
	names   *nameSet
	byHost  map[string]string
	ordered []string // host paths in the order they were met
}

func (c *bindClaims) claim(host string) string {
	if name, ok := c.byHost[host]; ok {
		return name
	}
	name := c.names.take("bind-" + path.Base(host))
	c.byHost[host] = name
	c.ordered = append(c.ordered, host)
	return name
}

// objects returns the claims.
func (c *bindClaims) objects(t *translator) []Object {
	var out []Object
	for _, host := range c.ordered {
		claim := t.newClaim(c.byHost[host], t.labels(nil), storageHints{})
		claim.Annotations = map[string]string{annotationName: path.Base(host)}
		out = append(out, claim)
	}
	return out
}

// addFiles makes an object that holds files of u and returns the volume of
// the pod that shows them. Every user of the container may read them; who may
// run them stays as it is.
func (t *translator) addFiles(p *podVolumes, u *unit, base string, files map[string]FileFacts, secret bool) string {
	data := map[string][]byte{}
	var items []corev1.KeyToPath
	for _, name := range sortedKeys(files) {
		key := dataKey(name)
		for _, taken := data[key]; taken; _, taken = data[key] {
			key = dataKey(hash(8, name) + "-" + key)
		}
		data[key] = files[name].Content
		items = append(items, corev1.KeyToPath{Key: key, Path: name, Mode: ptr(readable(int32(files[name].Mode & 0o777)))})
	}
	object := t.newData(suffixed(u.kube+"-"+sanitize(base), "-"+dataHash(data), maxSubdomain), t.labels(u), data, secret)
	name := object.GetName()
	key := "files " + name + itemsKey(items)
	if _, known := p.byKey[key]; !known {
		p.objects = append(p.objects, object)
	}
	if secret {
		return p.add(key, base, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: items}})
	}
	return p.add(key, base, corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}})
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
