package translate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hasNameService reports whether other pods find u by name: it is a member of
// a network, and something runs.
func (t *translator) hasNameService(u *unit) bool {
	if u.hints.ServiceType == "ExternalName" {
		return true
	}
	return len(u.networks) > 0 && u.host.kind != none
}

// kubeServices returns the kubeServices of u: the one of its compose name,
// which also leads to pods that are not ready, as Docker's names do, and a
// second one with ready pods only, for published ports and the Ingress.
func (t *translator) kubeServices(u *unit) []Object {
	var out []Object
	if t.hasNameService(u) {
		out = append(out, t.nameService(u))
		if u.kube != u.name {
			t.reportName(u.path, u.name, u.kube)
		}
	}
	if len(u.served) > 0 {
		out = append(out, t.readyService(u))
	}
	return out
}

// nameService is the kubeService of a unit's compose name.
func (t *translator) nameService(u *unit) *corev1.Service {
	s := &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: t.meta(u.kube, u)}
	if u.hints.ServiceType == "ExternalName" {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: strings.TrimSuffix(u.hints.ExternalName, ".")}
		return s
	}
	s.Spec = corev1.ServiceSpec{
		Type:                     corev1.ServiceTypeClusterIP,
		Selector:                 t.serving(u.host),
		PublishNotReadyAddresses: true,
	}
	if len(u.ports.known) <= maxServicePorts {
		s.Spec.Ports = servicePorts(u.ports.known)
	}
	if u.ports.headless {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	return s
}

// readyPorts are the ports of the ready-only kubeService of u.
func (t *translator) readyPorts(u *unit) []knownPort {
	if u.host.kind == none || u.hints.ServiceType == "ExternalName" {
		return nil
	}
	ports := slices.Clone(u.ports.ready)
	for _, r := range u.routes {
		p := knownPort{number: r.port, protocol: "tcp"}
		if at := slices.IndexFunc(u.ports.known, p.same); at >= 0 {
			p = u.ports.known[at]
		}
		ports = addPort(ports, p)
	}
	if len(ports) == 0 && (u.hints.ServiceType == "NodePort" || u.hints.ServiceType == "LoadBalancer") && len(u.ports.known) <= maxServicePorts {
		ports = slices.Clone(u.ports.known)
	}
	return ports
}

// readyService is the kubeService behind published ports and the Ingress. On
// an owned cluster it has node ports: they are what the gateway can reach.
func (t *translator) readyService(u *unit) *corev1.Service {
	s := &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: t.meta(u.ready, u)}
	s.Spec = corev1.ServiceSpec{
		Type:     corev1.ServiceTypeClusterIP,
		Selector: t.serving(u.host),
		Ports:    servicePorts(u.served),
	}
	switch {
	case u.hints.ServiceType == "LoadBalancer":
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		if !t.owned() {
			s.Spec.Ports = loadBalancerPorts(s.Spec.Ports, u.ports.published)
		}
	case u.hints.ServiceType == "NodePort", t.owned() && len(u.ports.ready) > 0 && u.hints.ServiceType != "ClusterIP":
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	return s
}

// loadBalancerPorts gives a load balancer the published numbers, each of which
// it can have once. A target that is published twice gets a second port.
func loadBalancerPorts(ports []corev1.ServicePort, published []publishedPort) []corev1.ServicePort {
	placed := map[int]bool{}
	for _, p := range published {
		at := slices.IndexFunc(ports, func(x corev1.ServicePort) bool {
			return int32(p.number) == x.TargetPort.IntVal && protocolOf(p.protocol) == x.Protocol
		})
		taken := slices.ContainsFunc(ports, func(x corev1.ServicePort) bool {
			return x.Port == int32(p.first) && x.Protocol == protocolOf(p.protocol)
		})
		switch own := at >= 0 && ports[at].Port == int32(p.first); {
		case at < 0 || p.first == 0 || p.first != p.last || taken && !own:
		case !placed[at]:
			ports[at].Port, placed[at] = int32(p.first), true
		case !taken:
			more := ports[at]
			more.Port, more.Name = int32(p.first), fmt.Sprintf("published-%s-%d", p.protocol, p.first)
			ports = append(ports, more)
		}
	}
	return ports
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

func intOrString(n int) intstr.IntOrString { return intstr.FromInt32(int32(n)) }
