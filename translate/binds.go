package translate

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// maxObject is how much a ConfigMap or Secret holds, in bytes.
const maxObject = 1 << 20

// mountBind mounts a path of the host. What it becomes depends on what is
// there: a live directory of an owned cluster, a copy in a ConfigMap or
// Secret, a claim; never an empty directory in place of the user's files.
func (t *translator) mountBind(p *podVolumes, l *mountList, s scope, attribute string, v types.ServiceVolumeConfig) {
	facts := t.in.Paths[v.Source]
	if path.IsAbs(v.Source) {
		v.Source = path.Clean(v.Source) // as Docker does: a mount of the cluster is found by it
	}
	b := bind{scope: s, attribute: attribute, volume: v, facts: facts}
	d := hintDecoder{positions: t.in.Positions}
	var hints mountHints
	d.decode(attribute+"."+extension, v.Extensions[extension], &hints)
	node, live := t.nodePath(v.Source)
	how := BindNone
	switch {
	case hints.As == "skip":
		t.report.exact(attribute, "left out, as x-berth says")
	case hints.As == "claim":
		how = t.mountClaim(p, l, b)
		t.report.exact(attribute, "a claim, as x-berth says")
	case live && hints.As != "snapshot":
		how = t.mountLive(p, l, b, node)
	case b.facts.Socket || isSocket(v.Source):
		t.reportSocket(b)
	case ofTheNode(v.Source):
		how = t.mountHostPath(p, l, b, v.Source, corev1.HostPathUnset)
		t.report.approximated(attribute, "the node's own "+v.Source+", not your machine's", "")
	case b.facts.Exists && !b.facts.Dir:
		how = t.mountFile(p, l, b)
	case b.fitsSnapshot(hints.As == "snapshot"):
		how = BindSnapshot
		t.mountSnapshot(p, l, b)
	case b.facts.Exists && (len(b.facts.Files) > 0 || !b.facts.Whole):
		how = t.mountDirectory(p, l, b)
	default:
		how = t.mountEmpty(p, l, b)
	}
	if s.path == s.unit.path {
		s.unit.binds = append(s.unit.binds, Bind{Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly, How: how})
	}
}

// bind is one bind mount.
type bind struct {
	scope     scope
	attribute string
	volume    types.ServiceVolumeConfig
	facts     PathFacts
}

// fitsSnapshot reports whether a directory can be copied into an object: small,
// and of text or of a service that is built here. Other files that a container
// may write are its data, of which a copy would lose what comes after.
func (b bind) fitsSnapshot(asked bool) bool {
	if !b.facts.Exists || !b.facts.Whole || len(b.facts.Files) == 0 {
		return false
	}
	total, text := 0, true
	for name, f := range b.facts.Files {
		total += len(name) + len(f.Content)
		text = text && utf8.Valid(f.Content) && !bytes.Contains(f.Content, []byte{0})
	}
	return total <= maxObject && (asked || text || b.volume.ReadOnly || b.scope.unit.svc.Build != nil)
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
func (t *translator) mountLive(p *podVolumes, l *mountList, b bind, node string) BindKind {
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
	return BindLive
}

// mountHostPath mounts a path of the node.
func (t *translator) mountHostPath(p *podVolumes, l *mountList, b bind, node string, kind corev1.HostPathType) BindKind {
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
	l.add(m)
	return BindNode
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
func (t *translator) mountFile(p *podVolumes, l *mountList, b bind) BindKind {
	if b.facts.Size > maxObject || int64(len(b.facts.Content)) < b.facts.Size {
		return t.lost(b, fmt.Sprintf("left out: a file of %d bytes does not fit a ConfigMap (1 MiB)", b.facts.Size))
	}
	base := path.Base(b.volume.Source)
	key := dataKey(base)
	files := map[string]FileFacts{key: {Mode: b.facts.Mode, Content: b.facts.Content}}
	name := t.addFiles(p, b.scope.unit, base, files, "", isSecretFile(base, b.facts.Mode))
	b.reportModes(t, files)
	l.add(corev1.VolumeMount{Name: name, MountPath: b.volume.Target, SubPath: key, ReadOnly: true})
	done := "a copy of the file; a change of it reaches the pod with the next berth up"
	if !b.volume.ReadOnly {
		done = "a read-only copy of the file: the container cannot write it"
	}
	t.report.approximated(b.attribute, done, t.mountCure(b, "to share it live"))
	return BindFile
}

// reportModes says that copies are open to all users of the container, where
// files are not: they belong to root, not to who owns them on the host.
func (b bind) reportModes(t *translator, files map[string]FileFacts) {
	for _, name := range sortedKeys(files) {
		if mode := int32(files[name].Mode & 0o777); mode != 0 && readable(mode) != mode {
			t.report.approximated(b.attribute, fmt.Sprintf("every user of the container may read the copies: %s has mode %04o there, not %04o", name, readable(mode), mode), "")
			return
		}
	}
}

// isSecretFile reports whether a file is nobody else's business, by its mode
// or its name.
func isSecretFile(base string, mode uint32) bool {
	if mode != 0 && mode&0o077 == 0 {
		return true
	}
	base = strings.ToLower(base)
	for _, suffix := range []string{".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx", "htpasswd", "id_rsa", "id_ed25519"} {
		if strings.HasSuffix(base, suffix) {
			return true
		}
	}
	return strings.HasPrefix(base, ".env.") || strings.Contains(base, "secret") || strings.Contains(base, "password") || strings.Contains(base, "credential")
}

// snapshotDir is the folder of a snapshot's volume that holds the files:
// mounted itself, the volume would show the kubelet's links.
const snapshotDir = "snapshot"

// mountSnapshot mounts a copy of a small directory: one that the container may
// write where the node agent can make it, else a read-only one.
func (t *translator) mountSnapshot(p *podVolumes, l *mountList, b bind) {
	base := path.Base(b.volume.Source)
	secret := false
	for name, f := range b.facts.Files {
		secret = secret || isSecretFile(path.Base(name), f.Mode)
	}
	source := t.addFiles(p, b.scope.unit, base, b.facts.Files, snapshotDir+"/", secret)
	b.reportModes(t, b.facts.Files)
	cure := t.mountCure(b, "to share it live")
	if b.volume.ReadOnly || !t.owned() || t.target.AgentDir == "" {
		l.add(corev1.VolumeMount{Name: source, MountPath: b.volume.Target, SubPath: snapshotDir, ReadOnly: true})
		done := "a copy of its " + countFiles(b.facts) + "; changes reach the pod with the next berth up"
		if !b.volume.ReadOnly {
			done = "a read-only copy of its " + countFiles(b.facts) + ": the container cannot write there"
		}
		t.report.approximated(b.attribute, done, cure)
		return
	}
	name := p.add(b.scope.unit.path+" snapshot "+b.volume.Source, "copy-"+base, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	l.add(corev1.VolumeMount{Name: name, MountPath: b.volume.Target})
	p.copies = append(p.copies, volumeCopy{scope: b.scope, volume: name, from: source})
	t.report.approximated(b.attribute, "a copy of its "+countFiles(b.facts)+"; what the container writes is gone with the pod", cure)
}

// countFiles says how many files a directory holds.
func countFiles(f PathFacts) string {
	if len(f.Files) == 1 {
		return "one file"
	}
	return fmt.Sprintf("%d files", len(f.Files))
}

// mountDirectory deals with a directory that has files and cannot be shared
// or copied.
func (t *translator) mountDirectory(p *podVolumes, l *mountList, b bind) BindKind {
	switch {
	case t.owned() && b.volume.ReadOnly:
		return t.lost(b, "left out: the nodes do not see the directory, and it is too large for a copy")
	case t.owned():
		return t.lost(b, "left out: the nodes do not see the directory, and a copy would lose what is written to it")
	case b.scope.unit.svc.Build != nil:
		t.report.approximated(b.attribute, "left out: the pod has what the image was built with at "+b.volume.Target, "COPY the files in the Dockerfile")
		return BindNone
	case b.volume.ReadOnly:
		return t.lost(b, "left out: the directory is too large for a ConfigMap")
	}
	t.report.needsCluster(b.attribute, "a claim, which starts without the directory's files", "copy them: kubectl cp "+b.volume.Source+" POD:"+b.volume.Target)
	return t.mountClaim(p, l, b)
}

// mountEmpty deals with a directory that does not exist yet or holds nothing.
func (t *translator) mountEmpty(p *podVolumes, l *mountList, b bind) BindKind {
	done := "a claim in place of the directory, which holds nothing yet: data stays in the cluster"
	if t.owned() && !b.volume.ReadOnly {
		t.report.block(b.attribute, NeedsCluster, done, t.mountCure(b, "to have it on the host, or use a named volume"))
	} else {
		t.report.approximated(b.attribute, done, t.mountCure(b, "to have it on the host"))
	}
	return t.mountClaim(p, l, b)
}

// mountClaim mounts a claim in place of a directory of the host. Services that
// bind the same directory share it.
func (t *translator) mountClaim(p *podVolumes, l *mountList, b bind) BindKind {
	claim := t.bindClaims.claim(b)
	p.pinned = true
	name := p.add("claim "+claim.name, claim.name, claimSource(claim.name))
	l.add(corev1.VolumeMount{Name: name, MountPath: b.volume.Target, SubPath: t.claimPath(""), ReadOnly: b.volume.ReadOnly})
	return BindClaim
}

// lost reports a bind mount that is missing in the pod.
func (t *translator) lost(b bind, done string) BindKind {
	if t.owned() {
		t.report.block(b.attribute, NeedsCluster, done, t.mountCure(b, "to share it live"))
	} else {
		t.report.block(b.attribute, Dropped, done, "put the files into the image or a volume")
	}
	return BindNone
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

// bindClaims are the claims that stand for directories of the host.
type bindClaims struct {
	names   *nameSet
	byHost  map[string]*bindClaim
	ordered []*bindClaim // in the order they were met
}

// bindClaim is one of them.
type bindClaim struct {
	name   string
	host   string
	mounts []bind
}

// claim returns the claim that a bind mount gets, and notes the mount.
func (c *bindClaims) claim(b bind) *bindClaim {
	claim := c.byHost[b.volume.Source]
	if claim == nil {
		claim = &bindClaim{name: c.names.take("bind-" + path.Base(b.volume.Source)), host: b.volume.Source}
		c.byHost[claim.host] = claim
		c.ordered = append(c.ordered, claim)
	}
	claim.mounts = append(claim.mounts, b)
	return claim
}

// objects returns the claims. Size and class come from x-berth.storage of the
// services that mount them.
func (c *bindClaims) objects(t *translator) []Object {
	var out []Object
	for _, claim := range c.ordered {
		hints, users, pods := storageHints{}, map[*unit]bool{}, 0
		for _, m := range claim.mounts {
			u := m.scope.unit
			hints = hints.or(u.hints.Storage)
			if !users[u.host] {
				users[u.host], pods = true, pods+replicasOf(u.host)
			}
		}
		if !t.owned() && hints.AccessMode == "" && pods > 1 {
			for _, m := range claim.mounts {
				t.report.approximated(m.attribute, "ReadWriteOnce: all pods that share the volume must run on one node", "set x-berth.storage.accessMode: ReadWriteMany of the service where the storage class has it")
			}
		}
		object := t.newClaim(claim.name, t.labels(nil), hints)
		object.Annotations = map[string]string{annotationName: path.Base(claim.host)}
		out = append(out, object)
	}
	return out
}
