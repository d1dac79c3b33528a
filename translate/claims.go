package translate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultSize is what a claim asks for; kind's provisioner sets no limit.
const defaultSize = "1Gi"

// claimNames names the claim of every volume: its key, or the name the user
// gives it.
func (t *translator) claimNames() map[string]string {
	set := t.bindClaims.names
	keys := sortedKeys(t.project.Volumes)
	wanted := make(map[string]string, len(keys)) // volume -> name before it is made valid
	for _, key := range keys {
		name := t.project.Volumes[key].Name
		if name == "" || name == t.project.Name+"_"+key {
			name = key
		}
		wanted[key] = name
	}
	names := make(map[string]string, len(keys))
	byVolume := make(map[string]string, len(keys)) // what Docker calls the volume -> its claim: two keys may mean one
	for _, valid := range []bool{true, false} {
		for _, key := range keys {
			if isLabel(wanted[key]) != valid {
				continue
			}
			if t.project.Volumes[key].External { // it exists, under this name or not at all
				names[key] = shorten(strings.TrimPrefix(sanitize(wanted[key]), "s-"), wanted[key], maxSubdomain)
				if isDNSName(wanted[key]) {
					names[key] = wanted[key]
				}
				continue
			}
			volume := t.volumeName(key)
			name, known := byVolume[volume]
			if !known {
				name = set.take(wanted[key])
				byVolume[volume] = name
			}
			names[key] = name
		}
	}
	return names
}

// volumeName is what Docker would call a volume.
func (t *translator) volumeName(key string) string {
	if name := t.project.Volumes[key].Name; name != "" {
		return name
	}
	return t.project.Name + "_" + key
}

// claimOf is the claim of a volume.
func (t *translator) claimOf(key string) string {
	if name, ok := t.claims[key]; ok {
		return name
	}
	return shorten(sanitize(key), key, maxLabel)
}

// anonymousClaim names the claim of an anonymous volume that other services
// mount through volumes_from.
func (t *translator) anonymousClaim(u *unit, target string) string {
	return suffixed(u.kube, "-anonymous-"+hash(6, target), maxLabel)
}

// claimObjects returns the claims of the volumes in use, and their persistent
// volumes where the project says where they are.
func (t *translator) claimObjects() []Object {
	var out []Object
	users := t.mountedBy
	byClaim := make(map[string][]string, len(users)) // claim -> volumes that it is
	for _, key := range sortedKeys(users) {
		if kind := localDriver(t.project.Volumes[key]).kind; kind != "bind" && kind != "tmpfs" && !bool(t.project.Volumes[key].External) {
			byClaim[t.claimOf(key)] = append(byClaim[t.claimOf(key)], key)
		}
	}
	for _, key := range sortedKeys(users) {
		config := t.project.Volumes[key]
		path := "volumes." + key
		same := byClaim[t.claimOf(key)]
		if slices.Index(same, key) > 0 {
			t.report.exact(path, fmt.Sprintf("the claim %q, as of volumes.%s: both have one name", t.claimOf(key), same[0]))
			continue
		}
		if config.Driver == "local" {
			t.report.exact(path+".driver", "a claim, or what driver_opts say")
		}
		if config.External {
			done := fmt.Sprintf("the claim %q, which must exist in namespace %q", t.claimOf(key), t.namespace)
			if name := config.Name; name == "" || name == t.claimOf(key) {
				t.report.exact(path+".external", done)
			} else {
				t.report.approximated(path+".external", done, "")
			}
			continue
		}
		how := localDriver(config)
		if how.kind == "bind" || how.kind == "tmpfs" {
			continue
		}
		switch how.kind {
		case "nfs":
			pv := t.nfsVolume(key, how)
			claim := t.claim(same, config, users)
			claim.Spec.VolumeName, claim.Spec.StorageClassName = pv.Name, ptr("")
			claim.Spec.AccessModes = pv.Spec.AccessModes
			out = append(out, pv, claim)
			continue
		case "other":
			t.report.dropped(path+".driver_opts", "the cluster's storage class makes the volume", "set x-berth.class of the volume")
		}
		out = append(out, t.claim(same, config, users))
	}
	for _, u := range t.units {
		if !t.shared[u.name] || u.job != nil {
			continue
		}
		for _, v := range u.svc.Volumes {
			if (v.Type == types.VolumeTypeVolume || v.Type == "") && v.Source == "" {
				c := t.newClaim(t.anonymousClaim(u, v.Target), t.labels(u), u.hints.Storage)
				out = append(out, c)
			}
		}
	}
	return out
}

// volumeUsers maps the named volumes in use to the units that mount them.
func (t *translator) volumeUsers() map[string][]*unit {
	users := make(map[string][]*unit, len(t.project.Volumes))
	for _, u := range t.units {
		if u.host.kind == none {
			continue
		}
		list := u.svc.Volumes
		for _, hook := range u.svc.PreStart {
			list = append(list[:len(list):len(list)], hook.Volumes...)
		}
		for _, v := range list {
			if (v.Type == types.VolumeTypeVolume || v.Type == "") && v.Source != "" {
				if n := len(users[v.Source]); n == 0 || users[v.Source][n-1] != u {
					users[v.Source] = append(users[v.Source], u)
				}
			}
		}
	}
	return users
}

// claim is the claim of a named volume, of several that are one. Size and class come from x-berth of
// the volume, or of the services that use it.
func (t *translator) claim(keys []string, config types.VolumeConfig, byVolume map[string][]*unit) *corev1.PersistentVolumeClaim {
	key := keys[0]
	hints, users := storageHints{}, byVolume[key]
	for _, k := range keys {
		hints = hints.or(t.volumes[k])
	}
	for _, k := range keys[1:] {
		for _, u := range byVolume[k] {
			if !slices.Contains(users, u) {
				users = append(users[:len(users):len(users)], u)
			}
		}
	}
	for _, u := range users {
		hints = hints.or(u.hints.Storage)
		for _, v := range u.svc.Volumes {
			if slices.Contains(keys, v.Source) && v.Volume != nil {
				config.Labels = mergedLabels(config.Labels, v.Volume.Labels)
			}
		}
	}
	labels := t.labels(nil)
	labels[labelVolume] = LabelValue(key)
	path := "volumes." + key
	t.reportLeft(path+".labels", config.Labels)
	for _, name := range sortedKeys(config.Labels) {
		if !isQualifiedName(name) || !isLabelValue(config.Labels[name]) {
			t.report.approximated(path+".labels", fmt.Sprintf("%q is no label of Kubernetes and is kept as an annotation", name), "")
			continue
		}
		if _, ours := labels[name]; !ours {
			labels[name] = config.Labels[name]
		}
	}
	c := t.newClaim(t.claimOf(key), labels, hints)
	annotations := map[string]string{}
	if c.Name != key {
		annotations[annotationName] = key
	}
	foreignKeys(annotations, config.Labels, labels)
	if len(annotations) > 0 {
		c.Annotations = annotations
	}
	if !t.owned() && hints.AccessMode == "" && (len(users) > 1 || len(users) == 1 && users[0].svc.GetScale() > 1) {
		t.report.approximated(path, "ReadWriteOnce: all pods that share the volume must run on one node", "set x-berth.accessMode: ReadWriteMany of the volume where the storage class has it")
	}
	return c
}

// newClaim makes a claim.
func (t *translator) newClaim(name string, labels map[string]string, hints storageHints) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{TypeMeta: typeMeta("v1", "PersistentVolumeClaim")}
	c.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: t.namespace, Labels: labels}
	size := hints.Size
	if size == "" {
		size = defaultSize
	}
	mode := corev1.ReadWriteOnce
	if hints.AccessMode != "" {
		mode = corev1.PersistentVolumeAccessMode(hints.AccessMode)
	}
	c.Spec = corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{mode},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity(size)}},
	}
	if hints.Class != "" {
		c.Spec.StorageClassName = ptr(hints.Class)
	}
	return c
}

// or fills what h leaves open from other.
func (h storageHints) or(other storageHints) storageHints {
	if h.Size == "" {
		h.Size = other.Size
	}
	if h.Class == "" {
		h.Class = other.Class
	}
	if h.AccessMode == "" {
		h.AccessMode = other.AccessMode
	}
	return h
}

// quantity parses a size that has been checked.
func quantity(s string) resource.Quantity {
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return resource.MustParse(defaultSize)
	}
	return q
}

// localVolume is what the options of Docker's local volume driver ask for.
type localVolume struct {
	kind   string // "" for a plain volume, bind, tmpfs, nfs, other
	device string
	server string
	size   int64
	mount  []string
}

// localDriver reads the driver and options of a volume.
func localDriver(v types.VolumeConfig) localVolume {
	if v.Driver != "" && v.Driver != "local" {
		return localVolume{kind: "other"}
	}
	if len(v.DriverOpts) == 0 {
		return localVolume{}
	}
	out := localVolume{kind: "other", device: v.DriverOpts["device"]}
	bind := false
	for _, o := range strings.Split(v.DriverOpts["o"], ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "bind", "rbind":
			bind = true
		case "addr":
			out.server = value
		case "size":
			if n, err := parseBytes(value); err == nil {
				out.size = n
			}
		case "":
		default:
			out.mount = append(out.mount, o)
		}
	}
	switch kind := v.DriverOpts["type"]; {
	case kind == "tmpfs":
		out.kind = "tmpfs"
	case bind && strings.HasPrefix(out.device, "/"):
		out.kind = "bind"
	case strings.HasPrefix(kind, "nfs"):
		host, dir, ok := strings.Cut(out.device, ":")
		if ok && strings.HasPrefix(dir, "/") {
			out.device = dir
			if out.server == "" {
				out.server = host
			}
		}
		if out.server != "" && strings.HasPrefix(out.device, "/") {
			out.kind = "nfs"
		}
	}
	return out
}

// nfsVolume is the persistent volume of an NFS export.
func (t *translator) nfsVolume(key string, how localVolume) *corev1.PersistentVolume {
	name := shorten(t.namespace+"-"+t.claimOf(key), t.namespace+"-"+t.claimOf(key), maxSubdomain)
	pv := &corev1.PersistentVolume{TypeMeta: typeMeta("v1", "PersistentVolume"), ObjectMeta: metav1.ObjectMeta{Name: name, Labels: t.labels(nil)}}
	pv.Spec = corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: quantity(defaultSize)},
		AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: t.namespace, Name: t.claimOf(key)},
		MountOptions:                  how.mount,
		PersistentVolumeSource:        corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: how.server, Path: how.device}},
	}
	t.report.exact("volumes."+key+".driver_opts", fmt.Sprintf("a persistent volume on the NFS server %s", how.server))
	return pv
}
