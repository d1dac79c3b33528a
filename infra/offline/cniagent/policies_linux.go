package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// syncPolicies replaces this node's rules by those that the cluster's network
// policies ask for.
func (n *network) syncPolicies(ctx context.Context, c cluster) error {
	rules := policyRules(n.conf.node, c)
	if rules == n.policies {
		return nil
	}
	if err := nft(ctx, rules); err != nil {
		return err
	}
	n.policies = rules
	return nil
}

// policyRules returns the nftables rules for the pods of one node. A pod that
// some policy selects is isolated in the policy's direction: what no policy
// allows is rejected, so that a client learns at once. Replies to what was
// allowed always pass.
//
// Egress is judged before ingress; each of a pod's two chains ends in return
// (allowed so far) or reject.
func policyRules(node string, c cluster) string {
	b := &ruleBuilder{cluster: c, namespaces: map[string]map[string]string{}}
	for _, ns := range c.namespaces {
		b.namespaces[ns.Metadata.Name] = ns.Metadata.Labels
	}
	for _, p := range c.pods {
		addr, ok := p.ip()
		if !ok || p.Spec.NodeName != node {
			continue
		}
		b.pod(p, addr)
	}
	var out strings.Builder
	out.WriteString("table ip berth-policy\ndelete table ip berth-policy\ntable ip berth-policy {\n")
	out.WriteString(b.chains.String())
	verdicts := func(direction, field string, isolated []string) {
		fmt.Fprintf(&out, "\tchain %s {\n", direction)
		if len(isolated) > 0 {
			fmt.Fprintf(&out, "\t\tip %s vmap { %s }\n", field, strings.Join(isolated, ", "))
		}
		out.WriteString("\t}\n")
	}
	verdicts("egress", "saddr", b.egress)
	verdicts("ingress", "daddr", b.ingress)
	// Priorities after the translation of Service addresses, so that rules see
	// the pods behind them. Input is what pods send to the node itself.
	out.WriteString("\tchain forward {\n\t\ttype filter hook forward priority filter - 5; policy accept;\n" +
		"\t\tct state established,related accept\n\t\tjump egress\n\t\tjump ingress\n\t}\n" +
		"\tchain input {\n\t\ttype filter hook input priority filter - 5; policy accept;\n" +
		"\t\tct state established,related accept\n\t\tjump egress\n\t}\n}\n")
	return out.String()
}

// A ruleBuilder collects the chains of isolated pods.
type ruleBuilder struct {
	cluster    cluster
	namespaces map[string]map[string]string // labels by name

	chains          strings.Builder
	ingress, egress []string // "address : jump chain" of isolated pods
}

// pod adds the chains of one pod, for the directions it is isolated in.
func (b *ruleBuilder) pod(p pod, addr netip.Addr) {
	name := strings.ReplaceAll(addr.String(), ".", "_")
	var in, out []string
	inIsolated, outIsolated := false, false
	for _, pol := range b.cluster.policies {
		if pol.Metadata.Namespace != p.Metadata.Namespace || !pol.Spec.PodSelector.matches(p.Metadata.Labels) {
			continue
		}
		if pol.applies("Ingress") {
			inIsolated = true
			for _, r := range pol.Spec.Ingress {
				in = append(in, b.allow("saddr", pol.Metadata.Namespace, r.From, r.Ports, &p)...)
			}
		}
		if pol.applies("Egress") {
			outIsolated = true
			for _, r := range pol.Spec.Egress {
				out = append(out, b.allow("daddr", pol.Metadata.Namespace, r.To, r.Ports, nil)...)
			}
		}
	}
	if inIsolated {
		b.chain("in_"+name, in)
		b.ingress = append(b.ingress, addr.String()+" : jump in_"+name)
	}
	if outIsolated {
		b.chain("out_"+name, out)
		b.egress = append(b.egress, addr.String()+" : jump out_"+name)
	}
}

func (b *ruleBuilder) chain(name string, allowed []string) {
	fmt.Fprintf(&b.chains, "\tchain %s {\n", name)
	for _, r := range allowed {
		fmt.Fprintf(&b.chains, "\t\t%s\n", r)
	}
	b.chains.WriteString("\t\tmeta l4proto tcp reject with tcp reset\n\t\treject\n\t}\n")
}

// allow returns the rules of one entry of a policy: field is the address that
// the peers are on. Named ports are those of target, or of each peer when
// target is nil.
func (b *ruleBuilder) allow(field, namespace string, peers []peer, ports []policyPort, target *pod) []string {
	var rules []string
	for _, where := range b.where(field, namespace, peers) {
		if len(ports) == 0 {
			rules = append(rules, strings.TrimSpace(where.match+" return"))
			continue
		}
		for _, port := range ports {
			rules = append(rules, portRules(field, where, port, target)...)
		}
	}
	return rules
}

// A place is a set of peers: a match on their address, and the pods among them.
type place struct {
	match string // empty: anywhere
	pods  []pod
}

// where turns peers into places; no peers at all means anywhere.
func (b *ruleBuilder) where(field, namespace string, peers []peer) []place {
	if len(peers) == 0 {
		return []place{{pods: b.cluster.pods}}
	}
	var places []place
	for _, p := range peers {
		if p.IPBlock != nil {
			if prefix, err := netip.ParsePrefix(p.IPBlock.CIDR); err != nil || !prefix.Addr().Is4() {
				continue
			}
			match := fmt.Sprintf("ip %s %s", field, p.IPBlock.CIDR)
			if len(p.IPBlock.Except) > 0 {
				match += fmt.Sprintf(" ip %s != { %s }", field, strings.Join(p.IPBlock.Except, ", "))
			}
			places = append(places, place{match: match})
			continue
		}
		if pods := b.selected(namespace, p); len(pods) > 0 {
			places = append(places, place{match: addressMatch(field, pods), pods: pods})
		}
	}
	return places
}

// selected returns the pods with an address that a peer's selectors select.
func (b *ruleBuilder) selected(own string, p peer) []pod {
	var pods []pod
	for _, x := range b.cluster.pods {
		if _, ok := x.ip(); !ok {
			continue
		}
		inNamespace := x.Metadata.Namespace == own
		if p.NamespaceSelector != nil {
			inNamespace = p.NamespaceSelector.matches(b.namespaces[x.Metadata.Namespace])
		}
		if inNamespace && (p.PodSelector == nil || p.PodSelector.matches(x.Metadata.Labels)) {
			pods = append(pods, x)
		}
	}
	return pods
}

func addressMatch(field string, pods []pod) string {
	var addrs []string
	for _, p := range pods {
		if a, ok := p.ip(); ok {
			addrs = append(addrs, a.String())
		}
	}
	slices.Sort(addrs)
	return fmt.Sprintf("ip %s { %s }", field, strings.Join(slices.Compact(addrs), ", "))
}

// portRules allows one port of a place.
func portRules(field string, where place, port policyPort, target *pod) []string {
	protocol := port.Protocol
	if protocol == "" {
		protocol = "TCP"
	}
	l4 := strings.ToLower(protocol)
	rule := func(match, ports string) string {
		return strings.TrimSpace(fmt.Sprintf("%s %s return", match, ports))
	}
	switch v := port.Port.(type) {
	case nil:
		return []string{rule(where.match, "meta l4proto "+l4)}
	case float64:
		numbers := fmt.Sprint(int(v))
		if port.EndPort > int(v) {
			numbers = fmt.Sprintf("%d-%d", int(v), port.EndPort)
		}
		return []string{rule(where.match, l4+" dport "+numbers)}
	case string:
		if target != nil {
			number, ok := target.port(v, protocol)
			if !ok {
				return nil
			}
			return []string{rule(where.match, fmt.Sprintf("%s dport %d", l4, number))}
		}
		var rules []string
		for _, p := range where.pods {
			if number, ok := p.port(v, protocol); ok {
				rules = append(rules, rule(addressMatch(field, []pod{p}), fmt.Sprintf("%s dport %d", l4, number)))
			}
		}
		return rules
	}
	return nil
}
