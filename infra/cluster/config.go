package cluster

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

// IngressLabel marks the node whose ports 80 and 443 are the host's. The
// ingress controller's node selector asks for it.
const IngressLabel = "ingress-ready"

// A hostFacts is what the host imposes on every node.
type hostFacts struct {
	cgroupV1      bool // the engine's host has no unified cgroup hierarchy
	noSysResource bool // containers cannot get CAP_SYS_RESOURCE
}

// A gate is a feature gate and the Kubernetes minor versions (of 1.x) that
// know it and do not have it on already.
type gate struct {
	name        string
	first, last int
	kubeletOnly bool
	needed      func(hostFacts) bool
}

func always(hostFacts) bool { return true }

// gates are the feature gates berth turns on. An upper bound is where the
// default became true, or the newest version the gate was seen in.
var gates = []gate{
	{"KubeletCrashLoopBackOffMax", 32, 34, true, always},
	{"ImageVolume", 31, 34, false, always},
	{"ContainerStopSignals", 33, 37, false, always},
	{"KubeletInUserNamespace", 22, 36, true, func(h hostFacts) bool { return h.noSysResource }},
}

// kindConfig is the configuration for kind of a cluster whose ports are
// settled and whose node image holds the given Kubernetes version.
func kindConfig(s Spec, kubernetes *version.Version, host hostFacts) (*v1alpha4.Cluster, error) {
	kubelet, cluster := gatesFor(kubernetes, host)
	patches, err := kubeadmPatches(kubernetes, host, kubelet, s.ControlPlanes)
	if err != nil {
		return nil, err
	}
	config := &v1alpha4.Cluster{
		TypeMeta:             v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:                 s.Name,
		Networking:           v1alpha4.Networking{PodSubnet: podSubnet, ServiceSubnet: serviceSubnet},
		FeatureGates:         cluster,
		KubeadmConfigPatches: patches,
	}
	for i := range s.ControlPlanes {
		n := node(s, v1alpha4.ControlPlaneRole)
		if i == 0 {
			n.Labels = map[string]string{IngressLabel: "true"}
			n.ExtraPortMappings = []v1alpha4.PortMapping{
				{ContainerPort: 80, HostPort: int32(s.HTTPPort), ListenAddress: "127.0.0.1"},
				{ContainerPort: 443, HostPort: int32(s.HTTPSPort), ListenAddress: "127.0.0.1"},
			}
		}
		config.Nodes = append(config.Nodes, n)
	}
	for range *s.Workers {
		config.Nodes = append(config.Nodes, node(s, v1alpha4.WorkerRole))
	}
	return config, nil
}

func node(s Spec, role v1alpha4.NodeRole) v1alpha4.Node {
	n := v1alpha4.Node{Role: role, Image: s.NodeImage}
	for _, m := range s.Mounts {
		n.ExtraMounts = append(n.ExtraMounts, v1alpha4.Mount{
			HostPath: m.Source, ContainerPath: m.Target, Readonly: m.ReadOnly,
		})
	}
	return n
}

// gatesFor returns the feature gates for the kubelet alone and those for every
// component.
func gatesFor(v *version.Version, host hostFacts) (kubelet, all map[string]bool) {
	kubelet, all = map[string]bool{}, map[string]bool{}
	for _, g := range gates {
		minor := int(v.Minor())
		if v.Major() != 1 || minor < g.first || minor > g.last || !g.needed(host) {
			continue
		}
		if g.kubeletOnly {
			kubelet[g.name] = true
		} else {
			all[g.name] = true
		}
	}
	return kubelet, all
}

// kubeadmPatches are the settings berth makes because it owns the cluster, as
// merge patches of what kind hands to kubeadm.
func kubeadmPatches(v *version.Version, host hostFacts, kubeletGates map[string]bool, controlPlanes int) ([]string, error) {
	kubelet := map[string]any{
		"kind": "KubeletConfiguration",
		// A node must report well within the grace period of the controller
		// manager below: its lease every 5 s (a quarter of the duration), its
		// status at once when it changes and otherwise every 5 min.
		"nodeStatusUpdateFrequency": "5s",
		"nodeStatusReportFrequency": "5m0s",
		"nodeLeaseDurationSeconds":  20,
		// compose's sysctls are set for one container's namespaces only.
		"allowedUnsafeSysctls": []string{"kernel.shm*", "kernel.msg*", "kernel.sem", "fs.mqueue.*", "net.*"},
	}
	if atLeast(v, 32) {
		kubelet["crashLoopBackOff"] = map[string]any{"maxContainerRestartPeriod": "5s"}
	}
	if atLeast(v, 35) {
		// An image that berth has loaded may have the ID of one that the kubelet
		// has pulled under another name, and must not be pulled again for that.
		kubelet["imagePullCredentialsVerificationPolicy"] = "NeverVerify"
	}
	if host.cgroupV1 && atLeast(v, 31) {
		kubelet["failCgroupV1"] = false
	}
	if len(kubeletGates) > 0 {
		kubelet["featureGates"] = kubeletGates
	}
	controllerManager, scheduler := map[string]string{"node-monitor-grace-period": "20s"}, map[string]string{}
	if controlPlanes == 1 {
		// There is nobody else to lead. A controller manager that was killed with its
		// node would wait 15 s for its own lease to end, and until then Services lead
		// to the addresses that pods had before.
		controllerManager["leader-elect"], scheduler["leader-elect"] = "false", "false"
	}
	cluster := map[string]any{
		"kind":              "ClusterConfiguration",
		"controllerManager": map[string]any{"extraArgs": controllerManager},
		"scheduler":         map[string]any{"extraArgs": scheduler},
		// Pods leave a lost node after 5 s, not 5 min.
		"apiServer": map[string]any{"extraArgs": map[string]string{
			"default-not-ready-toleration-seconds":   "5",
			"default-unreachable-toleration-seconds": "5",
		}},
	}
	var patches []string
	for _, p := range []map[string]any{cluster, kubelet} {
		text, err := yaml.Marshal(p)
		if err != nil {
			return nil, err
		}
		patches = append(patches, string(text))
	}
	return patches, nil
}

func atLeast(v *version.Version, minor uint) bool {
	return v.Major() > 1 || v.Minor() >= minor
}

// parseVersion reads the one line of a node image's /kind/version.
func parseVersion(text string) (*version.Version, error) {
	v, err := version.ParseSemantic(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the node image's Kubernetes version: %w", err)
	}
	return v, nil
}
