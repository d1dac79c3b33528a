package translate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isolated reports whether the project's networks divide it: a lone default
// network does not.
func (t *translator) isolated() bool {
	return slices.ContainsFunc(t.usedNetworks, func(n string) bool {
		return n != "default" || t.project.Networks[n].Internal || bool(t.project.Networks[n].External)
	})
}

// networkLabel is the label that the members of a network carry. Members of an
// external network share it across projects.
func (t *translator) networkLabel(network string) string {
	if n := t.project.Networks[network]; n.External {
		name := n.Name
		if name == "" {
			name = network
		}
		return labelNetwork + shorten("ext."+sanitize(name), name, maxLabel)
	}
	return labelNetwork + t.networkName(network)
}

// labelNetworks adds the membership labels of the pods of u.
func (t *translator) labelNetworks(labels map[string]string, u *unit) {
	if t.isolatedNetworks {
		for _, n := range u.networks {
			labels[t.networkLabel(n)] = "true"
		}
	}
}

// policies returns the NetworkPolicies of the project: members of a network
// reach each other, published ports and ports behind the Ingress are reached
// from anywhere, and members of internal networks reach nothing else.
func (t *translator) policies() []Object {
	var out []Object
	names := newNameSet(maxSubdomain)
	if t.isolatedNetworks {
		for _, network := range t.usedNetworks {
			out = append(out, t.networkPolicy(names, network))
			if t.project.Networks[network].Internal {
				out = append(out, t.egressPolicy(names, network))
			}
		}
		for _, u := range t.units {
			if len(u.served) > 0 && len(u.networks) > 0 {
				out = append(out, t.publishedPolicy(names, u))
			}
		}
	}
	for _, u := range t.units {
		if u.svc.NetworkMode == "none" && u.kind != none {
			out = append(out, t.denyPolicy(names, u))
		}
	}
	return out
}

// reportNetworks says of which networks nothing is lost.
func (t *translator) reportNetworks() {
	for _, name := range t.usedNetworks {
		if driver := t.project.Networks[name].Driver; driver == "bridge" || driver == "default" {
			t.report.exact("networks."+name+".driver", "its members reach each other, as on a bridge")
		}
	}
}

// findUsedNetworks returns the networks that pods are members of, sorted, and
// counts the workloads on each.
func (t *translator) findUsedNetworks() []string {
	var out []string
	for _, u := range t.units {
		if u.host.kind != none {
			out = append(out, u.networks...)
		}
		if u.kind != none {
			for _, n := range u.networks {
				t.podsOn[n]++
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// networkPolicy lets the members of a network reach each other.
func (t *translator) networkPolicy(names *nameSet, network string) *networkingv1.NetworkPolicy {
	p := t.policy(names.take(t.networkName(network)+"-network"), nil)
	p.Annotations = map[string]string{annotationName: network}
	members := t.members(network)
	p.Spec = networkingv1.NetworkPolicySpec{
		PodSelector: *members.PodSelector,
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{members}}},
	}
	return p
}

// egressPolicy keeps the members of an internal network inside it, save those
// that are members of an open network too and may go out through that.
func (t *translator) egressPolicy(names *nameSet, network string) *networkingv1.NetworkPolicy {
	p := t.policy(names.take(t.networkName(network)+"-internal"), nil)
	p.Annotations = map[string]string{annotationName: network}
	members := t.members(network)
	selector := *members.PodSelector
	for _, other := range t.usedNetworks {
		if !t.project.Networks[other].Internal {
			selector.MatchExpressions = append(selector.MatchExpressions,
				metav1.LabelSelectorRequirement{Key: t.networkLabel(other), Operator: metav1.LabelSelectorOpDoesNotExist})
		}
	}
	p.Spec = networkingv1.NetworkPolicySpec{
		PodSelector: selector,
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress:      internalEgress(members),
	}
	return p
}

// members are the pods of a network, those of other projects too when it is
// an external one.
func (t *translator) members(network string) networkingv1.NetworkPolicyPeer {
	peer := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{t.networkLabel(network): "true"}}}
	if t.project.Networks[network].External {
		peer.NamespaceSelector = &metav1.LabelSelector{}
	}
	return peer
}

// networkName is what a network is called in Kubernetes' names.
func (t *translator) networkName(network string) string {
	if name, ok := t.networks[network]; ok {
		return name
	}
	return shorten(sanitize(network), network, maxLabel)
}

// internalEgress lets members reach each other and the cluster's DNS.
func internalEgress(members networkingv1.NetworkPolicyPeer) []networkingv1.NetworkPolicyEgressRule {
	udp, tcp, port := corev1.ProtocolUDP, corev1.ProtocolTCP, intOrString(53)
	return []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{members}},
		{
			To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "kube-system"}}}},
			Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &port}, {Protocol: &tcp, Port: &port}},
		},
	}
}

// publishedPolicy lets everybody reach what a unit publishes: the gateway and
// the Ingress controller come from outside the project's namespace.
func (t *translator) publishedPolicy(names *nameSet, u *unit) *networkingv1.NetworkPolicy {
	p := t.policy(names.take(u.kube+"-published"), u)
	rule := networkingv1.NetworkPolicyIngressRule{}
	for _, port := range u.served {
		protocol, number := protocolOf(port.protocol), intOrString(port.number)
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number})
	}
	p.Spec = networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: t.selector(u.host)},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{rule},
	}
	return p
}

// denyPolicy cuts a unit off: network_mode none.
func (t *translator) denyPolicy(names *nameSet, u *unit) *networkingv1.NetworkPolicy {
	p := t.policy(names.take(u.kube+"-isolated"), u)
	p.Spec = networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: t.selector(u)},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
	}
	return p
}

func (t *translator) policy(name string, u *unit) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{TypeMeta: typeMeta("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: t.meta(name, u)}
}
