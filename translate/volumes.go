package translate

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// podVolumes are the volumes of one pod and the objects behind them that no
// other workload uses.
type podVolumes struct {
	names   *nameSet
	volumes []corev1.Volume
	keys    []string // what each of the volumes is
	objects []Object
	copies  []volumeCopy
	pinned  bool // a claim ties the pod to where its data is
}

// volumeCopy is a volume to be filled from the image before its first use.
type volumeCopy struct {
	scope   scope
	volume  string
	subPath string
	target  string // directory of the image; "" when from is set
	from    string // volume that is copied in place of the image

	// place are the files that are copied from the volume from, or the directory
	// itself, with owner and mode: what the agent's command place takes.
	place []string
}

// newPodVolumes makes room for n volumes.
func newPodVolumes(n int) *podVolumes {
	return &podVolumes{names: newNameSet(maxLabel), volumes: make([]corev1.Volume, 0, n), keys: make([]string, 0, n)}
}

// add returns the name of the volume that key identifies, making it on first
// use. The same claim mounted twice is one volume.
func (p *podVolumes) add(key, base string, source corev1.VolumeSource) string {
	if name, known := p.find(key); known {
		return name
	}
	name := p.names.take(base)
	p.volumes, p.keys = append(p.volumes, corev1.Volume{Name: name, VolumeSource: source}), append(p.keys, key)
	return name
}

// find returns the name of the volume that key identifies, if it is there.
func (p *podVolumes) find(key string) (name string, known bool) {
	at := slices.Index(p.keys, key)
	if at < 0 {
		return "", false
	}
	return p.volumes[at].Name, true
}

// isClaim reports whether a volume of the pod is a claim.
func (p *podVolumes) isClaim(name string) bool {
	return slices.ContainsFunc(p.volumes, func(v corev1.Volume) bool { return v.Name == name && v.PersistentVolumeClaim != nil })
}

// mountList are the mounts of one container, at most one a path.
type mountList struct {
	mounts []corev1.VolumeMount
	report *reporter
}

func (l *mountList) has(target string) bool {
	return slices.ContainsFunc(l.mounts, func(m corev1.VolumeMount) bool { return m.MountPath == target })
}

// free reports whether something can be mounted at target, and else says why
// not.
func (l *mountList) free(attribute, target string) bool {
	target = path.Clean(target)
	switch {
	case !strings.HasPrefix(target, "/") || strings.Contains(target, ":"):
		l.report.dropped(attribute, fmt.Sprintf("a pod cannot mount at %q", target), "use an absolute path without colons")
		return false
	case l.has(target):
		l.report.dropped(attribute, fmt.Sprintf("something else is mounted at %s already", target), "")
		return false
	}
	return true
}

// add mounts m, whose path is free.
func (l *mountList) add(m corev1.VolumeMount) {
	m.MountPath = path.Clean(m.MountPath)
	l.mounts = append(l.mounts, m)
}

// mounts returns the mounts of a container and adds what they need to p.
func (t *translator) mounts(p *podVolumes, s scope) []corev1.VolumeMount {
	l := &mountList{report: t.report, mounts: make([]corev1.VolumeMount, 0, len(s.spec.Volumes))}
	for i, v := range s.spec.Volumes {
		t.mount(p, l, s, itemPath(s.path, "volumes", i), v)
	}
	for i, from := range s.spec.VolumesFrom {
		t.mountFrom(p, l, s, itemPath(s.path, "volumes_from", i), from, false, map[string]bool{s.unit.name: true})
	}
	t.mountFiles(p, l, s)
	for i, text := range s.spec.Tmpfs {
		t.mountTmpfs(p, l, s, itemPath(s.path, "tmpfs", i), text)
	}
	if s.spec.ShmSize > 0 && !l.has("/dev/shm") {
		source := memory(int64(s.spec.ShmSize))
		l.add(corev1.VolumeMount{Name: p.add(fmt.Sprintf("%s shm %d", s.unit.path, s.spec.ShmSize), "shm", source), MountPath: "/dev/shm"})
	}
	t.mountDevices(p, l, s)
	t.mountSocket(p, l, s)
	t.mountImageVolumes(p, l, s)
	return l.mounts
}

// mount adds one entry of volumes.
func (t *translator) mount(p *podVolumes, l *mountList, s scope, attribute string, v types.ServiceVolumeConfig) {
	if !l.free(attribute, v.Target) {
		return
	}
	switch v.Type {
	case types.VolumeTypeVolume, "":
		if v.Source == "" {
			t.mountAnonymous(p, l, s, attribute, v)
			return
		}
		t.mountNamed(p, l, s, attribute, v)
	case types.VolumeTypeBind:
		t.mountBind(p, l, s, attribute, v)
	case types.VolumeTypeTmpfs:
		m := tmpfs{target: v.Target, readOnly: v.ReadOnly}
		if v.Tmpfs != nil {
			m.size, m.mode = int64(v.Tmpfs.Size), v.Tmpfs.Mode
		}
		t.mountMemory(p, l, s, attribute+".tmpfs.mode", m)
	case types.VolumeTypeImage:
		t.mountImage(p, l, attribute, v)
	case types.VolumeTypeCluster:
		claim := shorten(sanitize(v.Source), v.Source, maxSubdomain)
		name := p.add("claim "+claim, claim, claimSource(claim))
		p.pinned = true
		l.add(corev1.VolumeMount{Name: name, MountPath: v.Target, ReadOnly: v.ReadOnly})
		t.report.needsCluster(attribute, fmt.Sprintf("the claim %q, which must exist", claim), "")
	default:
		t.report.dropped(attribute, fmt.Sprintf("volumes of type %q exist on Windows only", v.Type), "")
	}
}

// mountNamed mounts a named volume: one claim, shared by all who name it.
func (t *translator) mountNamed(p *podVolumes, l *mountList, s scope, attribute string, v types.ServiceVolumeConfig) {
	config := t.project.Volumes[v.Source]
	switch how := localDriver(config); how.kind {
	case "bind":
		bind := v
		bind.Type, bind.Source = types.VolumeTypeBind, how.device
		t.mountBind(p, l, s, attribute, bind)
		return
	case "tmpfs":
		name := p.add("tmpfs "+v.Source, v.Source, memory(how.size))
		l.add(corev1.VolumeMount{Name: name, MountPath: v.Target, ReadOnly: v.ReadOnly})
		t.report.approximated("volumes."+v.Source+".driver_opts", "memory of each pod; pods do not share it", "")
		return
	}
	claim := t.claimOf(v.Source)
	name := p.add("claim "+claim, v.Source, claimSource(claim))
	p.pinned = true
	m := corev1.VolumeMount{Name: name, MountPath: v.Target, ReadOnly: v.ReadOnly}
	if v.Volume != nil {
		m.SubPath = strings.TrimPrefix(path.Clean("/"+v.Volume.Subpath), "/")
	}
	exists := bool(config.External) || !t.owned() && localDriver(config).kind == "nfs"
	if !exists {
		m.SubPath = t.claimPath(m.SubPath)
	}
	l.add(m)
	if exists || !t.fill(p, s, attribute, name, m, v) {
		t.report.exact(attribute, fmt.Sprintf("the claim %q", claim))
	}
}

// fill has a volume copied from the image on first use, as Docker does, where
// the target can. It reports whether it spoke of the mount.
func (t *translator) fill(p *podVolumes, s scope, attribute, name string, m corev1.VolumeMount, v types.ServiceVolumeConfig) bool {
	switch {
	case v.Volume != nil && v.Volume.NoCopy:
		return false
	case !t.owned():
		t.report.approximated(attribute, fmt.Sprintf("a volume that starts empty: what the image has at %s is not copied into it", m.MountPath), "")
	case s.facts == nil:
		t.unknownImage(attribute, fmt.Sprintf("a volume that starts empty: whether the image has something at %s is not known", m.MountPath))
	case t.target.AgentDir == "":
		t.report.approximated(attribute, fmt.Sprintf("a volume that starts empty: no node agent copies what the image has at %s", m.MountPath), "")
	default:
		p.copies = append(p.copies, volumeCopy{scope: s, volume: name, subPath: m.SubPath, target: m.MountPath})
		if v.Source != "" {
			t.report.exact(attribute, fmt.Sprintf("the claim %q, filled from the image on first use", t.claimOf(v.Source)))
		}
	}
	return true
}

// mountAnonymous mounts a volume without a name: storage of the pod, or a
// claim when another service mounts the volumes of this one.
func (t *translator) mountAnonymous(p *podVolumes, l *mountList, s scope, attribute string, v types.ServiceVolumeConfig) {
	m := corev1.VolumeMount{MountPath: v.Target, ReadOnly: v.ReadOnly}
	if t.shared[s.unit.name] && s.path == s.unit.path {
		claim := t.anonymousClaim(s.unit, v.Target)
		m.Name, m.SubPath = p.add("claim "+claim, "data-"+v.Target, claimSource(claim)), t.claimPath("")
		p.pinned = true
		t.report.exact(attribute, fmt.Sprintf("the claim %q, which other services mount too", claim))
	} else {
		m.Name = p.add(s.unit.path+" anonymous "+v.Target, "data-"+v.Target, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
		t.report.approximated(attribute, "storage of the pod: it outlives a restart of the container, not the pod", "name the volume if the data must stay")
	}
	l.add(m)
	t.fill(p, s, attribute, m.Name, m, v)
}

// mountImageVolumes mounts what the image declares as VOLUME and nothing else
// covers, so that it survives a restart of the container as it does in Docker.
func (t *translator) mountImageVolumes(p *podVolumes, l *mountList, s scope) {
	if s.facts == nil || !t.owned() || t.target.AgentDir == "" || s.path != s.unit.path {
		return
	}
	for _, target := range s.facts.Volumes {
		target = path.Clean(target)
		if l.has(target) || !strings.HasPrefix(target, "/") || target == "/" {
			continue
		}
		m := corev1.VolumeMount{MountPath: target}
		m.Name = p.add(s.unit.path+" anonymous "+target, "data-"+target, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
		l.add(m)
		p.copies = append(p.copies, volumeCopy{scope: s, volume: m.Name, target: target})
	}
}

// mountFrom mounts the volumes of another service, and those that it has from
// others itself. Services in seen are done with.
func (t *translator) mountFrom(p *podVolumes, l *mountList, s scope, attribute, from string, readOnly bool, seen map[string]bool) {
	if strings.HasPrefix(from, types.ContainerPrefix) {
		t.report.dropped(attribute, "a container outside the project has no volumes in the cluster", "use named volumes")
		return
	}
	name, mode, _ := strings.Cut(from, ":")
	other := t.services[name]
	if other == nil || seen[name] {
		if other == nil {
			t.report.dropped(attribute, fmt.Sprintf("there is no service %q", name), "")
		}
		return
	}
	seen[name] = true
	readOnly = readOnly || mode == "ro"
	for i, v := range other.svc.Volumes {
		if l.has(path.Clean(v.Target)) {
			continue
		}
		v.ReadOnly = v.ReadOnly || readOnly
		if v.Type == types.VolumeTypeTmpfs {
			continue // Docker does not share these either
		}
		if v.Source == "" && (v.Type == types.VolumeTypeVolume || v.Type == "") {
			if !l.free(attribute, v.Target) {
				continue
			}
			claim := t.anonymousClaim(other, v.Target)
			p.pinned = true
			l.add(corev1.VolumeMount{Name: p.add("claim "+claim, "data-"+v.Target, claimSource(claim)), MountPath: v.Target, SubPath: t.claimPath(""), ReadOnly: v.ReadOnly})
			continue
		}
		t.mount(p, l, scope{unit: s.unit, path: s.path, spec: s.spec, image: s.image, facts: s.facts}, itemPath(other.path, "volumes", i), v)
	}
	if other.facts != nil && len(other.facts.Volumes) > 0 {
		t.reportImageVolumes(l, attribute, other)
	}
	for _, next := range other.svc.VolumesFrom {
		t.mountFrom(p, l, s, attribute, next, readOnly, seen)
	}
}

// reportImageVolumes says which volumes of another service are not shared: those
// that its image alone declares.
func (t *translator) reportImageVolumes(l *mountList, attribute string, other *unit) {
	for _, target := range other.facts.Volumes {
		if !l.has(path.Clean(target)) {
			t.report.dropped(attribute, fmt.Sprintf("%s is not shared: the image of %s declares it as a volume, and the project does not name it", target, other.name),
				fmt.Sprintf("add %s to the volumes of %s", target, other.name))
		}
	}
}

// volumesFromService is the service of an entry of volumes_from.
func volumesFromService(from string) string {
	if strings.HasPrefix(from, types.ContainerPrefix) {
		return ""
	}
	name, _, _ := strings.Cut(from, ":")
	return name
}

// mountImage mounts the content of an image.
func (t *translator) mountImage(p *podVolumes, l *mountList, attribute string, v types.ServiceVolumeConfig) {
	ref := v.Source
	if f, ok := t.in.Images[ref]; ok && f.Ref != "" {
		ref = f.Ref
	}
	source := corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: ref, PullPolicy: corev1.PullIfNotPresent}}
	m := corev1.VolumeMount{Name: p.add("image "+ref, "image-"+v.Source, source), MountPath: v.Target, ReadOnly: true}
	if v.Image != nil {
		m.SubPath = strings.TrimPrefix(path.Clean("/"+v.Image.SubPath), "/")
	}
	l.add(m)
	if !t.owned() {
		t.report.needsCluster(attribute, "an image volume, which Kubernetes has since 1.35", "")
	}
}

// claimPath is where in a new claim the data of a volume is. The disks of other
// clusters are file systems of their own, whose root has a lost+found that
// databases refuse to start beside.
func (t *translator) claimPath(subPath string) string {
	if t.owned() {
		return subPath
	}
	return path.Join("data", subPath)
}

func claimSource(claim string) corev1.VolumeSource {
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
}

// copyContainers returns the init containers that fill volumes from images.
func (t *translator) copyContainers(p *podVolumes, names *nameSet) []corev1.Container {
	if len(p.copies) == 0 {
		return nil
	}
	agent := t.agentVolume(p)
	var out []corev1.Container
	for i, c := range p.copies {
		const filled = "/.berth-volume"
		from, mounts := c.target, []corev1.VolumeMount{
			{Name: agent, MountPath: agentMount, ReadOnly: true},
			{Name: c.volume, MountPath: filled, SubPath: c.subPath},
		}
		command := []string{agentMount + "/agent", "copy-volume"}
		if c.from != "" || c.place != nil {
			from = "/.berth-snapshot"
		}
		if c.from != "" && c.place == nil {
			mounts = append(mounts, corev1.VolumeMount{Name: c.from, MountPath: from, SubPath: snapshotDir, ReadOnly: true})
		}
		if c.place != nil {
			command[1] = "place"
			if c.from != "" {
				mounts = append(mounts, corev1.VolumeMount{Name: c.from, MountPath: from, ReadOnly: true})
			}
		}
		out = append(out, corev1.Container{
			Name:            names.take(fmt.Sprintf("fill-%d", i+1)),
			Image:           podImage(c.scope),
			ImagePullPolicy: t.pullPolicy(c.scope),
			Command:         append(append(command, from, filled), c.place...),
			SecurityContext: &corev1.SecurityContext{RunAsUser: ptr(int64(0)), RunAsGroup: ptr(int64(0))},
			VolumeMounts:    mounts,
		})
	}
	return out
}

// agentMount is where containers see the node agent's directory.
const agentMount = "/.berth"
