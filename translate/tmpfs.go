package translate

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// tmpfs is a mount of memory as a compose file asks for it.
type tmpfs struct {
	target   string
	readOnly bool
	size     int64  // bytes, 0 for no limit
	mode     uint32 // 0 for Docker's default, 1777
	uid, gid int
}

// ownMode reports whether the mount asks for more than what every volume in
// memory is: the property of root, and open to every user.
func (m tmpfs) ownMode() bool {
	return m.uid != 0 || m.gid != 0 || m.mode != 0 && m.mode&0o777 != 0o777
}

// mountMemory mounts memory. A volume in memory has no mode or owner of its
// own; the node agent gives it some before the container starts.
func (t *translator) mountMemory(p *podVolumes, l *mountList, s scope, attribute string, m tmpfs) {
	key := fmt.Sprintf("%s tmpfs %s %d %o %d:%d", s.unit.path, m.target, m.size, m.mode, m.uid, m.gid)
	_, known := p.find(key)
	name := p.add(key, "tmpfs-"+m.target, memory(m.size))
	l.add(corev1.VolumeMount{Name: name, MountPath: m.target, ReadOnly: m.readOnly})
	switch {
	case !m.ownMode():
	case !t.canPlace():
		t.report.approximated(attribute, "a volume in memory is the property of root and open to every user of the container (0777)", "")
	default:
		mode := m.mode & 0o7777
		if mode == 0 {
			mode = 0o1777
		}
		if !known {
			p.copies = append(p.copies, volumeCopy{scope: s, volume: name, place: []string{placed(mode, m.uid, m.gid, ".")}})
		}
		t.report.exact(attribute, fmt.Sprintf("memory with mode %04o, owned by %d:%d", mode, m.uid, m.gid))
	}
}

// mountTmpfs mounts an entry of tmpfs: "/run:size=64m,mode=1777".
func (t *translator) mountTmpfs(p *podVolumes, l *mountList, s scope, attribute, text string) {
	target, options, _ := strings.Cut(text, ":")
	if !l.free(attribute, target) {
		return
	}
	m := tmpfs{target: target}
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		var err error
		switch key {
		case "", "rw", "exec", "dev", "suid":
		case "ro":
			m.readOnly = true
		case "size":
			if m.size, err = parseBytes(value); err != nil || m.size <= 0 {
				m.size = 0
				t.report.dropped(attribute, fmt.Sprintf("%q is no size", value), "")
			}
		case "mode":
			mode, err := strconv.ParseUint(value, 8, 12)
			if err != nil {
				t.report.dropped(attribute, fmt.Sprintf("%q is no mode", value), "")
			}
			m.mode = uint32(mode)
		case "uid", "gid":
			id, ok := parseUint(value)
			switch {
			case !ok:
				t.report.dropped(attribute, fmt.Sprintf("%q is no %s", value, key), "")
			case key == "uid":
				m.uid = id
			default:
				m.gid = id
			}
		default:
			t.report.approximated(attribute, fmt.Sprintf("a volume in memory without the option %q", o), "")
		}
	}
	t.mountMemory(p, l, s, attribute, m)
}

// memory is a volume in memory of at most size bytes, 0 for no limit.
func memory(size int64) corev1.VolumeSource {
	e := &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}
	if size > 0 {
		e.SizeLimit = resource.NewQuantity(size, resource.BinarySI)
	}
	return corev1.VolumeSource{EmptyDir: e}
}

// canPlace reports whether the node agent can give files an owner.
func (t *translator) canPlace() bool { return t.owned() && t.target.AgentDir != "" }

// placed is one file, or "." for its directory, as the agent's command place
// takes it.
func placed(mode uint32, uid, gid int, path string) string {
	return fmt.Sprintf("%04o:%d:%d:%s", mode, uid, gid, path)
}
