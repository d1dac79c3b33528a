package main

import (
	"net/netip"
	"slices"
)

// The parts of Kubernetes objects that the agent reads.
type (
	meta struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		Labels          map[string]string `json:"labels"`
		ResourceVersion string            `json:"resourceVersion"`
	}
	node struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			PodCIDR string `json:"podCIDR"`
		} `json:"spec"`
		Status struct {
			Addresses []struct {
				Type    string `json:"type"`
				Address string `json:"address"`
			} `json:"addresses"`
		} `json:"status"`
	}
	namespace struct {
		Metadata meta `json:"metadata"`
	}
	pod struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			NodeName    string `json:"nodeName"`
			HostNetwork bool   `json:"hostNetwork"`
			Containers  []struct {
				Ports []containerPort `json:"ports"`
			} `json:"containers"`
		} `json:"spec"`
		Status struct {
			Phase  string `json:"phase"`
			PodIPs []struct {
				IP string `json:"ip"`
			} `json:"podIPs"`
		} `json:"status"`
	}
	containerPort struct {
		Name          string `json:"name"`
		ContainerPort int    `json:"containerPort"`
		Protocol      string `json:"protocol"`
	}
	policy struct {
		Metadata meta `json:"metadata"`
		Spec     struct {
			PodSelector selector      `json:"podSelector"`
			PolicyTypes []string      `json:"policyTypes"`
			Ingress     []ingressRule `json:"ingress"`
			Egress      []egressRule  `json:"egress"`
		} `json:"spec"`
	}
	ingressRule struct {
		From  []peer       `json:"from"`
		Ports []policyPort `json:"ports"`
	}
	egressRule struct {
		To    []peer       `json:"to"`
		Ports []policyPort `json:"ports"`
	}
	peer struct {
		PodSelector       *selector `json:"podSelector"`
		NamespaceSelector *selector `json:"namespaceSelector"`
		IPBlock           *ipBlock  `json:"ipBlock"`
	}
	ipBlock struct {
		CIDR   string   `json:"cidr"`
		Except []string `json:"except"`
	}
	policyPort struct {
		Protocol string `json:"protocol"`
		Port     any    `json:"port"` // a number, a name, or nil for all
		EndPort  int    `json:"endPort"`
	}
	selector struct {
		MatchLabels      map[string]string `json:"matchLabels"`
		MatchExpressions []struct {
			Key      string   `json:"key"`
			Operator string   `json:"operator"`
			Values   []string `json:"values"`
		} `json:"matchExpressions"`
	}
)

// ip is the pod's IPv4 address; ok is false while it has none of its own or
// has ended.
func (p pod) ip() (addr netip.Addr, ok bool) {
	if p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
		return netip.Addr{}, false
	}
	for _, i := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(i.IP); err == nil && a.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// port is the number of the pod's port of that name and protocol.
func (p pod) port(name, protocol string) (number int, ok bool) {
	for _, c := range p.Spec.Containers {
		for _, x := range c.Ports {
			if x.Name == name && (x.Protocol == protocol || x.Protocol == "" && protocol == "TCP") {
				return x.ContainerPort, true
			}
		}
	}
	return 0, false
}

// internalIP is the address other nodes reach the node at.
func (n node) internalIP() (netip.Addr, bool) {
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); a.Type == "InternalIP" && err == nil && ip.Is4() {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// matches reports whether the selector selects the labels; an empty one
// selects everything.
func (s selector) matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		got, ok := labels[e.Key]
		in := ok && slices.Contains(e.Values, got)
		switch {
		case e.Operator == "In" && !in,
			e.Operator == "NotIn" && in,
			e.Operator == "Exists" && !ok,
			e.Operator == "DoesNotExist" && ok:
			return false
		}
	}
	return true
}

// applies reports whether the policy restricts that direction: Ingress or
// Egress.
func (p policy) applies(direction string) bool {
	if len(p.Spec.PolicyTypes) > 0 {
		return slices.Contains(p.Spec.PolicyTypes, direction)
	}
	return direction == "Ingress" || len(p.Spec.Egress) > 0
}
