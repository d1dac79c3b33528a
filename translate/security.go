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
	c := &corev1.SecurityContext{}
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
		t.securityOption(c, fmt.Sprintf("%s.security_opt[%d]", s.path, i), opt)
	}
	if c.Privileged != nil && c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation {
		c.AllowPrivilegeEscalation = nil
		t.report.dropped(s.path+".security_opt", "a privileged container cannot be kept from new privileges", "remove privileged and devices, or no-new-privileges")
	}
	if *c == (corev1.SecurityContext{}) {
		return nil
	}
	return c
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
	switch value {
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
			t.report.block(path, Dropped, fmt.Sprintf("the image has no user %q", name), "known are "+strings.Join(sortedKeys(s.facts.Passwd), ", "))
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
		t.report.block(path, Dropped, fmt.Sprintf("the image has no group %q", name), "known are "+strings.Join(sortedKeys(s.facts.Groups), ", "))
		return nil
	}
	return ptr(id)
}

// validID returns id when Kubernetes takes it as a user or group, else nil.
func validID(id int64) *int64 {
	if id < 0 || id > 1<<31-1 {
		return nil
	}
	return ptr(id)
}

func ptr[T any](v T) *T { return &v }
