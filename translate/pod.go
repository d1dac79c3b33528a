package translate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

func durationOf(d types.Duration) time.Duration { return time.Duration(d) }

// serviceRef returns X of "service:X".
func serviceRef(s string) (string, bool) {
	return strings.CutPrefix(s, types.ServicePrefix)
}

// sharedNamespaces sets what u shares with its node or with the other
// containers of its pod.
func (t *translator) sharedNamespaces(spec *corev1.PodSpec, u *unit) {
	t.networkMode(spec, u)
	switch ref, isService := serviceRef(u.svc.Pid); {
	case u.svc.Pid == "host":
		spec.HostPID = true
		t.report.approximated(u.path+".pid", "the processes of the node, not of your machine", "")
	case isService:
		if !spec.HostPID && t.together(u, ref) {
			spec.ShareProcessNamespace = ptr(true)
		}
		t.reportShared(u, ".pid", "processes", ref)
	case u.svc.Pid != "":
		t.report.dropped(u.path+".pid", fmt.Sprintf("%q has no counterpart in a pod", u.svc.Pid), "")
	}
	switch ref, isService := serviceRef(u.svc.Ipc); {
	case u.svc.Ipc == "host":
		spec.HostIPC = true
		t.report.approximated(u.path+".ipc", "shared memory of the node, not of your machine", "")
	case isService:
		t.reportShared(u, ".ipc", "memory segments", ref)
	case u.svc.Ipc == "shareable":
		t.report.exact(u.path+".ipc", "containers of its pod share it")
	case u.svc.Ipc == "", u.svc.Ipc == "private", u.svc.Ipc == "none":
	default:
		t.report.dropped(u.path+".ipc", fmt.Sprintf("%q has no counterpart in a pod", u.svc.Ipc), "")
	}
	switch {
	case !asksForInit(u), u.supervised:
	case t.sendsSignal(u):
		t.report.dropped(u.path+".init", "nothing reaps zombies: the pod's own first process would, but stop_signal needs the program to be the first", "use an image with an init, or a cluster made by berth")
	case len(u.carried) == 0 && u.host == u && !spec.HostPID:
		spec.ShareProcessNamespace = ptr(true)
		t.report.approximated(u.path+".init", "the pod's own first process reaps zombies (shareProcessNamespace)", "")
	default:
		t.report.dropped(u.path+".init", "nothing reaps zombies in a pod of several services or with the host's processes", "use an image with an init")
	}
	if spec.HostPID {
		spec.ShareProcessNamespace = nil
	}
}

// reportShared says what u shares with another service, in whose pod it runs:
// the network too, whether or not it asks for that.
func (t *translator) reportShared(u *unit, attribute, what, ref string) {
	_, network := serviceRef(u.svc.NetworkMode)
	switch {
	case !t.together(u, ref):
		why, do := t.whyApart(u, ref)
		t.report.dropped(u.path+attribute, why, do)
	case network:
		t.report.exact(u.path+attribute, "in the pod of "+ref+", with its "+what)
	default:
		t.report.approximated(u.path+attribute, "in the pod of "+ref+", with its "+what+", but its network and host name too", "")
	}
}

// networkMode sets what network_mode asks for.
func (t *translator) networkMode(spec *corev1.PodSpec, u *unit) {
	mode, path := u.svc.NetworkMode, u.path+".network_mode"
	ref, isService := serviceRef(mode)
	switch {
	case mode == "", mode == "bridge", mode == "default":
	case mode == "host":
		spec.HostNetwork = true
		t.report.approximated(path, "the network of the node, not of your machine: its ports are on the node's address", "remove network_mode and publish the ports")
	case mode == "none":
		t.report.approximated(path, "a NetworkPolicy that lets nothing in or out, where the cluster enforces policies", "")
	case isService && t.together(u, ref):
		t.report.exact(path, "a container in the pod of "+ref)
	case isService:
		why, do := t.whyApart(u, ref)
		t.report.dropped(path, why, do)
	default:
		t.report.dropped(path, fmt.Sprintf("%q has no counterpart in the cluster", mode), "")
	}
}

// podSecurity returns the security context that all containers of a pod share.
func (t *translator) podSecurity(units []*unit) *corev1.PodSecurityContext {
	var c corev1.PodSecurityContext
	groups, sysctls := map[int64]bool{}, map[string]string{}
	hostNetwork, hostIPC := false, false
	for _, u := range units {
		hostNetwork = hostNetwork || u.svc.NetworkMode == "host"
		hostIPC = hostIPC || u.svc.Ipc == "host"
	}
	for _, u := range units {
		s := u.mainScope()
		for i, name := range u.svc.GroupAdd {
			if id := t.group(s, itemPath(u.path, "group_add", i), name); id != nil && !groups[*id] {
				groups[*id] = true
				c.SupplementalGroups = append(c.SupplementalGroups, *id)
			}
		}
		none := len(u.svc.Sysctls) > 0
		for _, name := range sortedKeys(u.svc.Sysctls) {
			if before, set := sysctls[name]; set && before != u.svc.Sysctls[name] {
				t.report.dropped(u.path+".sysctls."+name, fmt.Sprintf("%q: the pod has one value, and another of its services sets that", before), "")
			} else if t.allowSysctl(u, name, hostNetwork, hostIPC) {
				sysctls[name], none = u.svc.Sysctls[name], false
			}
		}
		if none {
			t.report.dropped(u.path+".sysctls", "none of them is set", "")
		}
	}
	for _, name := range sortedKeys(sysctls) {
		c.Sysctls = append(c.Sysctls, corev1.Sysctl{Name: name, Value: sysctls[name]})
	}
	if len(c.SupplementalGroups)+len(c.Sysctls) == 0 {
		return nil
	}
	return ptr(c)
}

// safeSysctls may be set in any cluster.
var safeSysctls = map[string]bool{
	"kernel.shm_rmid_forced": true, "net.ipv4.ip_local_port_range": true, "net.ipv4.tcp_syncookies": true,
	"net.ipv4.ping_group_range": true, "net.ipv4.ip_unprivileged_port_start": true, "net.ipv4.ip_local_reserved_ports": true,
	"net.ipv4.tcp_keepalive_time": true, "net.ipv4.tcp_fin_timeout": true, "net.ipv4.tcp_keepalive_intvl": true,
	"net.ipv4.tcp_keepalive_probes": true, "net.ipv4.tcp_rmem": true, "net.ipv4.tcp_wmem": true,
}

// allowSysctl decides whether a pod may ask for a kernel parameter: one that
// it has for itself, and that the cluster allows.
func (t *translator) allowSysctl(u *unit, name string, hostNetwork, hostIPC bool) bool {
	path := u.path + ".sysctls." + name
	net := strings.HasPrefix(name, "net.")
	ipc := strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || name == "kernel.sem" || strings.HasPrefix(name, "fs.mqueue.")
	switch {
	case !isSysctl(name):
		t.report.dropped(path, fmt.Sprintf("%q is no kernel parameter", name), "")
	case !net && !ipc:
		t.report.needsCluster(path, "not set: the parameter is the whole node's", "sysctl -w "+name+"="+u.svc.Sysctls[name]+" on the host")
	case net && hostNetwork, ipc && hostIPC:
		t.report.dropped(path, "not set: the pod shares it with its node", "")
	case !safeSysctls[name] && !t.owned():
		t.report.needsCluster(path, "not set: the kubelet must allow it", "kubelet --allowed-unsafe-sysctls="+name+", and an x-berth patch")
	default:
		return true
	}
	return false
}

// isSysctl reports whether name has the form of a kernel parameter.
func isSysctl(name string) bool {
	for _, part := range strings.Split(name, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		first, last := part[0], part[len(part)-1]
		if first == '-' || first == '_' || last == '-' || last == '_' {
			return false
		}
	}
	return len(name) <= maxSubdomain
}

// runtimeClass translates runtime; runc is what every cluster has.
func (t *translator) runtimeClass(u *unit) *string {
	switch u.svc.Runtime {
	case "", "runc", "io.containerd.runc.v2":
		return nil
	}
	name := shorten(sanitize(u.svc.Runtime), u.svc.Runtime, maxSubdomain)
	t.report.needsCluster(u.path+".runtime", fmt.Sprintf("the RuntimeClass %q, which must exist", name), "install the runtime on the nodes and create the RuntimeClass")
	return ptr(name)
}

// tolerations move pods soon from a node that is lost. An owned cluster finds
// out within seconds; elsewhere the cluster's own patience holds. Pods of a
// DaemonSet stay, and run on the control plane too.
func (t *translator) tolerations(u *unit) []corev1.Toleration {
	if u.kind == daemonSet {
		return []corev1.Toleration{{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	}
	var out []corev1.Toleration
	if t.onControlPlane(u) {
		out = append(out, corev1.Toleration{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	if t.owned() {
		for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
			out = append(out, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr(int64(5))})
		}
	}
	return out
}

// mountDevices makes devices of the node visible. The container is privileged
// then: nothing less opens a device file in a pod.
func (t *translator) mountDevices(p *podVolumes, l *mountList, s scope) {
	for i, d := range s.spec.Devices {
		path := itemPath(s.path, "devices", i)
		if !isDeviceFile(d) {
			t.report.dropped(path, fmt.Sprintf("the CDI device %q must be offered by a device plug-in", d.Source), "ask for it with deploy.resources.reservations.devices")
			continue
		}
		target := d.Target
		if target == "" {
			target = d.Source
		}
		if !l.free(path, target) {
			continue
		}
		name := p.add("device "+d.Source, "device-"+d.Source, corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: d.Source, Type: ptr(corev1.HostPathUnset)}})
		l.add(corev1.VolumeMount{Name: name, MountPath: target})
		t.report.approximated(path, "the node's device, in a privileged container", "the nodes must have "+d.Source)
	}
}

func isDeviceFile(d types.DeviceMapping) bool { return strings.HasPrefix(d.Source, "/") }

// mountSocket mounts the engine's socket for use_api_socket.
func (t *translator) mountSocket(p *podVolumes, l *mountList, s scope) {
	if !s.spec.UseAPISocket {
		return
	}
	const socket = "/var/run/docker.sock"
	path := s.path + ".use_api_socket"
	node, live := t.nodePath(socket)
	switch {
	case !l.free(path, socket):
	case live:
		source := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: node, Type: ptr(corev1.HostPathSocket)}}
		l.add(corev1.VolumeMount{Name: p.add("host "+node, "engine-socket", source), MountPath: socket})
		t.report.approximated(path, "the host's engine, without your registry credentials; whoever is in the container rules the host", "")
	case t.owned():
		t.report.needsCluster(path, "left out: the nodes do not see the engine's socket", "berth cluster create --mount "+socket)
	default:
		t.report.dropped(path, "left out: pods have no socket of the engine", "")
	}
}

// parseUint reads a number that must not be negative.
func parseUint(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}
