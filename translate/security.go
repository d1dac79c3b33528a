package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// containerSecurity returns the security context of a container, nil when
// nothing is asked.
func (t *translator) containerSecurity(s scope) *corev1.SecurityContext {
	var c corev1.SecurityContext
	c.RunAsUser, c.RunAsGroup = t.user(s)
	if s.spec.Privileged {
		c.Privileged = ptr(true)
	}
	if s.spec.ReadOnly {
		c.ReadOnlyRootFilesystem = ptr(true)
	}
	if len(s.spec.CapAdd)+len(s.spec.CapDrop) > 0 {
		c.Capabilities = &corev1.Capabilities{Add: capabilities(s.spec.CapAdd), Drop: capabilities(s.spec.CapDrop)}
	}
	if len(s.spec.Devices) > 0 && slices.ContainsFunc(s.spec.Devices, isDeviceFile) {
		c.Privileged = ptr(true)
	}
	for i, opt := range s.spec.SecurityOpt {
		t.securityOption(&c, itemPath(s.path, "security_opt", i), opt)
	}
	if c.Privileged != nil && c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation {
		c.AllowPrivilegeEscalation = nil
		t.report.dropped(s.path+".security_opt", "a privileged container cannot be kept from new privileges", "remove privileged and devices, or no-new-privileges")
	}
	if c == (corev1.SecurityContext{}) {
		return nil
	}
	return ptr(c)
}

// capabilities returns compose's capabilities by Kubernetes' names, sorted.
func capabilities(list []string) []corev1.Capability {
	var out []corev1.Capability
	for _, name := range list {
		c := corev1.Capability(strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

// securityOption adds one entry of security_opt to c.
func (t *translator) securityOption(c *corev1.SecurityContext, path, opt string) {
	key, value, ok := strings.Cut(opt, "=")
	if !ok {
		key, value, _ = strings.Cut(opt, ":")
	}
	switch key {
	case "no-new-privileges":
		if value == "" || value == "true" {
			c.AllowPrivilegeEscalation = ptr(false)
		}
	case "seccomp":
		t.seccomp(c, path, value)
	case "apparmor":
		t.appArmor(c, path, value)
	case "label":
		t.seLinux(c, path, value)
	case "systempaths":
		if value == "unconfined" && c.Privileged != nil {
			t.report.exact(path, "nothing is masked in a privileged container")
			return
		}
		t.report.dropped(path, "a pod shows masked paths only with a user namespace of its own, or privileged", "set procMount and hostUsers with an x-berth patch")
	default:
		t.report.dropped(path, fmt.Sprintf("%q has no counterpart in a pod", opt), "")
	}
}

func (t *translator) seccomp(c *corev1.SecurityContext, path, value string) {
	switch value {
	case "unconfined":
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	case "", "builtin":
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	default:
		c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
		t.report.approximated(path, "the container runtime's default profile in place of "+value,
			"copy the profile into /var/lib/kubelet/seccomp of every node and name it with an x-berth patch")
	}
}

func (t *translator) appArmor(c *corev1.SecurityContext, path, value string) {
	switch value = strings.TrimSpace(value); value {
	case "unconfined":
		c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	case "", "docker-default":
		c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	default:
		c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr(value)}
		t.report.approximated(path, "the profile "+value+" must be loaded on every node", "apparmor_parser -r PROFILE on every node")
	}
}

// seLinux reads label=disable, label=user:U, label=type:T and the like.
func (t *translator) seLinux(c *corev1.SecurityContext, path, value string) {
	if c.SELinuxOptions == nil {
		c.SELinuxOptions = &corev1.SELinuxOptions{}
	}
	name, v, ok := strings.Cut(value, ":")
	switch {
	case value == "disable":
		c.SELinuxOptions.Type = "spc_t"
	case ok && name == "user":
		c.SELinuxOptions.User = v
	case ok && name == "role":
		c.SELinuxOptions.Role = v
	case ok && name == "type":
		c.SELinuxOptions.Type = v
	case ok && name == "level":
		c.SELinuxOptions.Level = v
	default:
		if *c.SELinuxOptions == (corev1.SELinuxOptions{}) {
			c.SELinuxOptions = nil
		}
		t.report.dropped(path, fmt.Sprintf("%q is no SELinux option", value), "")
	}
}

// user returns the ids of `user`. Names need the image's /etc/passwd.
func (t *translator) user(s scope) (uid, gid *int64) {
	if s.spec.User == "" {
		return nil, nil
	}
	path := s.path + ".user"
	name, group, _ := strings.Cut(s.spec.User, ":")
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		uid = validID(id)
	} else if name == "root" {
		uid, gid = ptr(int64(0)), ptr(int64(0))
	} else if name != "" {
		if s.facts == nil || s.facts.Passwd == nil {
			t.unknownImage(path, fmt.Sprintf("the image's own user runs it: the id of %q stands in the image", name))
			return nil, nil
		}
		ids, ok := s.facts.Passwd[name]
		if !ok {
			t.report.block(path, Dropped, fmt.Sprintf("the image has no user %q", name), Suggest(name, sortedKeys(s.facts.Passwd)))
			return nil, nil
		}
		uid, gid = ptr(ids.UID), ptr(ids.GID)
	}
	if uid == nil {
		t.report.dropped(path, fmt.Sprintf("%q is no user id", name), "")
		return nil, nil
	}
	if group != "" {
		gid = t.group(s, path, group)
	}
	return uid, gid
}

// group returns the id of a group by number or name, nil when it is unknown,
// which it reports.
func (t *translator) group(s scope, path, name string) *int64 {
	if id, err := strconv.ParseInt(name, 10, 64); err == nil {
		if validID(id) == nil {
			t.report.dropped(path, fmt.Sprintf("%q is no group id", name), "")
		}
		return validID(id)
	}
	if name == "root" {
		return ptr(int64(0))
	}
	if s.facts == nil || s.facts.Groups == nil {
		t.unknownImage(path, fmt.Sprintf("left out: the id of group %q stands in the image", name))
		return nil
	}
	id, ok := s.facts.Groups[name]
	if !ok {
		t.report.block(path, Dropped, fmt.Sprintf("the image has no group %q", name), Suggest(name, sortedKeys(s.facts.Groups)))
		return nil
	}
	return ptr(id)
}

// letWrite makes the volumes of a pod writable for a user who is not root.
// Docker makes a new volume the property of whoever owns the directory in the
// image; where nothing copies that, the volume belongs to the user's group.
func (t *translator) letWrite(spec *corev1.PodSpec, volumes *podVolumes, units []*unit, containers []corev1.Container) {
	if t.owned() || !volumes.pinned {
		return
	}
	for i, c := range containers {
		group := groupOf(c.SecurityContext, units[i].facts)
		if group == 0 || !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return !m.ReadOnly && volumes.isClaim(m.Name) }) {
			continue
		}
		if spec.SecurityContext == nil {
			spec.SecurityContext = &corev1.PodSecurityContext{}
		}
		spec.SecurityContext.FSGroup = &group
		spec.SecurityContext.FSGroupChangePolicy = ptr(corev1.FSGroupChangeOnRootMismatch)
		if path := units[i].path + ".user"; units[i].svc.User != "" {
			t.report.exact(path, fmt.Sprintf("runAsUser and runAsGroup; the pod's volumes belong to the group %d, so that it can write them", group))
		}
		return
	}
}

// groupOf is a group of the user that a container runs as, 0 when that is root
// or not known.
func groupOf(c *corev1.SecurityContext, facts *ImageFacts) int64 {
	if c != nil && c.RunAsUser != nil {
		if *c.RunAsUser > 0 && c.RunAsGroup != nil && *c.RunAsGroup > 0 {
			return *c.RunAsGroup
		}
		return *c.RunAsUser
	}
	if facts == nil || facts.User == "" {
		return 0
	}
	name, group, _ := strings.Cut(facts.User, ":")
	ids, known := facts.Passwd[name]
	if uid, err := strconv.ParseInt(name, 10, 64); err == nil {
		ids = UserIDs{UID: uid, GID: uid}
	} else if !known {
		return 0
	}
	if gid, ok := facts.Groups[group]; ok {
		ids.GID = gid
	} else if gid, err := strconv.ParseInt(group, 10, 64); err == nil {
		ids.GID = gid
	}
	if ids.UID > 0 && ids.GID > 0 {
		return ids.GID
	}
	return max(ids.UID, 0)
}

// validID returns id when Kubernetes takes it as a user or group, else nil.
func validID(id int64) *int64 {
	if id < 0 || id > 1<<31-1 {
		return nil
	}
	return ptr(id)
}

func ptr[T any](v T) *T { return &v }
