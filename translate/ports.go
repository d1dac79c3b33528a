package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// maxServicePorts bounds the ports of one kubeService: each takes a node port,
// and a cluster has 2768 of them.
const maxServicePorts = 250

// maxKnownPorts bounds the ports that are remembered of a service: with more
// than maxServicePorts its name leads to its pods, and every port answers.
const maxKnownPorts = 1000

// knownPort is a port that a service's containers listen on.
type knownPort struct {
	number      int
	protocol    string // tcp, udp, sctp
	name        string // given by the user, "" otherwise
	appProtocol string
}

func (p knownPort) same(q knownPort) bool { return p.number == q.number && p.protocol == q.protocol }

// publishedPort is one entry of ports.
type publishedPort struct {
	knownPort
	path     string
	hostIP   string
	first    int // host port, 0 for any
	last     int
	hostMode bool
}

// unitPorts are the ports of a unit.
type unitPorts struct {
	declared  []knownPort // ports, expose and x-berth.ports; sorted
	known     []knownPort // with what the image exposes and other services refer to; sorted
	published []publishedPort
	ready     []knownPort // what the ready-only kubeService carries: published ports
	headless  bool        // the kubeService has no address of its own
}

// portsOf collects the ports of u. A service that declares none gets a
// headless kubeService without ports, behind which every port answers, as in
// Docker; one that declares some gets those and whatever else is known of.
func (t *translator) portsOf(u *unit) unitPorts {
	var p unitPorts
	for i, c := range u.svc.Ports {
		path := itemPath(u.path, "ports", i)
		if published, ok := t.published(path, c); ok {
			p.published = append(p.published, published)
			p.declared = addPort(p.declared, published.knownPort)
		}
	}
	for i, text := range u.svc.Expose {
		p.declared = t.addRange(p.declared, itemPath(u.path, "expose", i), text)
	}
	for i, text := range u.hints.Ports {
		p.declared = t.addRange(p.declared, itemPath(u.path+"."+extension, "ports", i), text)
	}
	p.known = slices.Clone(p.declared)
	if len(p.declared) > 0 {
		if u.facts != nil {
			for _, text := range u.facts.Ports {
				p.known = t.addRange(p.known, "", text)
			}
		}
		for _, port := range t.refs[u.name] {
			p.known = addPort(p.known, knownPort{number: port, protocol: "tcp"})
		}
	}
	for _, port := range p.published {
		p.ready = addPort(p.ready, port.knownPort)
	}
	if len(p.ready) > maxServicePorts {
		t.report.dropped(u.path+".ports", fmt.Sprintf("only the first %d of %d published ports: more would use up the cluster's node ports", maxServicePorts, len(p.ready)),
			"publish a smaller range")
		p.ready = p.ready[:maxServicePorts]
		p.published = slices.DeleteFunc(p.published, func(x publishedPort) bool { return !hasPort(p.ready, x.knownPort) })
	}
	p.headless = t.headless(u, p)
	uniquePortNames(p.known)
	uniquePortNames(p.ready)
	return p
}

// headless decides whether the name of u leads to its pods rather than to one
// address.
func (t *translator) headless(u *unit, p unitPorts) bool {
	if u.hints.Headless != nil {
		return *u.hints.Headless || len(p.known) == 0 || len(p.known) > maxServicePorts
	}
	if d := u.svc.Deploy; d != nil && d.EndpointMode == "dnsrr" {
		return true
	}
	return len(p.known) == 0 || len(p.known) > maxServicePorts
}

// published reads one entry of ports.
func (t *translator) published(path string, c types.ServicePortConfig) (publishedPort, bool) {
	protocol := strings.ToLower(c.Protocol)
	if protocol == "" {
		protocol = "tcp"
	}
	if c.Target < 1 || c.Target > 65535 {
		t.report.dropped(path, fmt.Sprintf("%d is no port", c.Target), "")
		return publishedPort{}, false
	}
	p := publishedPort{
		path: path, hostIP: c.HostIP, hostMode: c.Mode == "host",
		knownPort: knownPort{number: int(c.Target), protocol: protocol, name: t.portName(path, c.Name), appProtocol: t.appProtocol(path, c.AppProtocol)},
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		t.report.dropped(path, fmt.Sprintf("%q is no protocol", c.Protocol), "")
		return publishedPort{}, false
	}
	if c.Published == "" {
		return p, true
	}
	low, high, isRange := strings.Cut(c.Published, "-")
	if !isRange {
		high = low
	}
	var err1, err2 error
	p.first, err1 = strconv.Atoi(low)
	p.last, err2 = strconv.Atoi(high)
	if err1 != nil || err2 != nil || p.first < 0 || p.last > 65535 || p.first > p.last {
		t.report.dropped(path, fmt.Sprintf("%q is no host port", c.Published), "")
		return publishedPort{}, false
	}
	return p, true
}

// portName returns the user's name of a port as Kubernetes allows it.
func (t *translator) portName(path, name string) string {
	if name == "" {
		return ""
	}
	out := sanitize(name)
	for strings.Contains(out, "--") { // a DNS label, but no name of a port
		out = strings.ReplaceAll(out, "--", "-")
	}
	out = shorten(out, name, 15)
	if out != name {
		t.report.approximated(path+".name", fmt.Sprintf("the port is called %q", out), "")
	}
	return out
}

// appProtocol returns the user's application protocol when it is well formed.
func (t *translator) appProtocol(path, name string) string {
	if name != "" && !isQualifiedName(name) {
		t.report.dropped(path+".app_protocol", fmt.Sprintf("%q is no name of a protocol", name), "")
		return ""
	}
	return name
}

// addRange adds the ports of "3000-3005/udp" to list, reporting at path (when
// it is given) what is none.
func (t *translator) addRange(list []knownPort, path, text string) []knownPort {
	spec, err := parsePort(text)
	if err != nil {
		if path != "" {
			t.report.dropped(path, err.Error(), "")
		}
		return list
	}
	for n := spec.first; n <= spec.last; n++ {
		if len(list) >= maxKnownPorts && !hasPort(list, knownPort{number: n, protocol: spec.protocol}) {
			if path != "" {
				t.report.approximated(path, fmt.Sprintf("the service's name leads to its pods themselves, where every port answers; %d of its ports are listed", maxKnownPorts), "")
			}
			return list
		}
		list = addPort(list, knownPort{number: n, protocol: spec.protocol})
	}
	return list
}

// addPort adds p to a list that stays sorted and holds each port once. What
// the list lacks of a name or application protocol is taken from p.
func addPort(list []knownPort, p knownPort) []knownPort {
	at, found := slices.BinarySearchFunc(list, p, func(a, b knownPort) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return strings.Compare(a.protocol, b.protocol)
	})
	if !found {
		return slices.Insert(list, at, p)
	}
	if list[at].name == "" {
		list[at].name = p.name
	}
	if list[at].appProtocol == "" {
		list[at].appProtocol = p.appProtocol
	}
	return list
}

func hasPort(list []knownPort, p knownPort) bool {
	return slices.ContainsFunc(list, p.same)
}

// uniquePortNames takes a name away from a port when an earlier one has it.
func uniquePortNames(list []knownPort) {
	seen := map[string]bool{}
	for i := range list {
		if seen[list[i].name] {
			list[i].name = ""
		}
		seen[list[i].name] = true
	}
}

// servicePorts returns the ports of a kubeService.
func servicePorts(list []knownPort) []corev1.ServicePort {
	var out []corev1.ServicePort
	taken := map[string]bool{}
	for _, p := range list {
		taken[p.name] = true
	}
	for _, p := range list {
		port := corev1.ServicePort{
			Name:       p.name,
			Protocol:   protocolOf(p.protocol),
			Port:       int32(p.number),
			TargetPort: intOrString(p.number),
		}
		if port.Name == "" {
			port.Name = p.protocol + "-" + strconv.Itoa(p.number)
			for taken[port.Name] {
				port.Name += "-x"
			}
			taken[port.Name] = true
		}
		if p.appProtocol != "" {
			port.AppProtocol = ptr(p.appProtocol)
		}
		out = append(out, port)
	}
	return out
}

// containerPorts returns what a container says it listens on: what is known,
// and what the Ingress leads to. It changes nothing but helps whoever reads the
// manifest, so huge ranges are left out.
func (t *translator) containerPorts(u *unit) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	listens := slices.Clone(u.ports.known)
	if len(listens) > maxServicePorts {
		listens = nil
	}
	for _, p := range u.served {
		listens = addPort(listens, p)
	}
	if len(listens) > 0 {
		for _, p := range listens {
			out = append(out, corev1.ContainerPort{Name: p.name, ContainerPort: int32(p.number), Protocol: protocolOf(p.protocol)})
		}
	}
	if t.owned() {
		return out
	}
	taken := t.hostPorts(u)
	for _, p := range u.ports.published {
		at := slices.IndexFunc(out, func(c corev1.ContainerPort) bool {
			return int(c.ContainerPort) == p.number && c.Protocol == protocolOf(p.protocol)
		})
		if at >= 0 && taken[p.path] {
			out[at].HostPort = int32(p.first)
			if p.hostIP != "" {
				out[at].HostIP = strings.Trim(p.hostIP, "[]")
			}
		}
	}
	return out
}

// hostPorts returns the entries of ports, by path, that take a port of the node
// in the pod of u: a port of a container can be one port of the node only, and
// that is nobody else's.
func (t *translator) hostPorts(u *unit) map[string]bool {
	out := map[string]bool{}
	if t.owned() || u.onHostNetwork() {
		return out
	}
	hosts, targets := []knownPort{}, map[*unit][]knownPort{}
	for _, m := range append([]*unit{u.host}, u.host.carried...) {
		for _, p := range m.ports.published {
			host := knownPort{number: p.first, protocol: p.protocol}
			if !p.hostMode || p.first == 0 || p.first != p.last || p.protocol == "sctp" || hasPort(hosts, host) || hasPort(targets[m], p.knownPort) {
				continue
			}
			out[p.path] = true
			hosts, targets[m] = append(hosts, host), append(targets[m], p.knownPort)
		}
	}
	return out
}

// onHostNetwork reports whether u runs on its node's network, where a port is
// what the program listens on and nothing else.
func (u *unit) onHostNetwork() bool { return u.host.svc.NetworkMode == "host" }

// hasHostPort reports whether pods of u take a port of their node.
func (t *translator) hasHostPort(u *unit) bool {
	return slices.ContainsFunc(t.containerPorts(u), func(c corev1.ContainerPort) bool { return c.HostPort != 0 })
}

// protocolOf is Kubernetes' name of a protocol.
func protocolOf(name string) corev1.Protocol {
	switch name {
	case "tcp":
		return corev1.ProtocolTCP
	case "udp":
		return corev1.ProtocolUDP
	}
	return corev1.Protocol(strings.ToUpper(name))
}

// publishedPorts lists the host ports of u for whoever opens them.
func (t *translator) publishedPorts(u *unit) []PublishedPort {
	if !t.owned() {
		return nil
	}
	var out []PublishedPort
	for _, p := range u.ports.published {
		if p.protocol == "sctp" {
			continue
		}
		hostIP := strings.Trim(p.hostIP, "[]")
		if hostIP == "" {
			hostIP = "127.0.0.1"
		}
		out = append(out, PublishedPort{
			Service: u.name, KubeService: u.ready, HostIP: hostIP,
			HostPort: p.first, HostPortEnd: p.last, Target: p.number, Protocol: p.protocol,
		})
	}
	return out
}

// reportPorts says where each published port can be reached.
func (t *translator) reportPorts(u *unit) {
	taken := t.hostPorts(u)
	for _, p := range u.ports.published {
		if p.hostMode {
			t.report.exact(p.path+".mode", "published as every other port: docker compose makes no difference either")
		}
		switch {
		case !t.owned() && u.onHostNetwork():
			t.report.exact(p.path, fmt.Sprintf("discarded, as in Docker: on its node's network the program listens on port %d itself", p.number))
		case p.protocol == "sctp":
			t.report.dropped(p.path, "SCTP is not published on the host; inside the cluster the port is reachable", "")
		case taken[p.path]:
			t.report.exact(p.path, fmt.Sprintf("hostPort %d of the node", p.first))
		case !t.owned() && p.hostMode && p.first != 0 && p.first == p.last:
			t.report.dropped(p.path, fmt.Sprintf("hostPort %d is left out: a port of a container is one port of the node, and that is no other's", p.first), "publish the port once")
		case !t.owned() && u.hints.ServiceType != "" && u.hints.ServiceType != "ClusterIP":
			t.report.approximated(p.path, fmt.Sprintf("port of the Service %q, type %s", u.ready, u.hints.ServiceType), "")
		case !t.owned() && u.routed(p.number):
			t.report.approximated(p.path, "not published on a host port; the Ingress leads to it", "kubectl port-forward service/"+u.ready+fmt.Sprintf(" %d", p.number))
		case !t.owned():
			t.report.needsCluster(p.path, "not published outside the cluster", "set x-berth.serviceType: LoadBalancer, or kubectl port-forward service/"+u.ready+fmt.Sprintf(" %d", p.number))
		case u.onHostNetwork():
			t.report.approximated(p.path, "published on "+cmp.Or(p.hostIP, "127.0.0.1")+hostPorts(p)+"; Docker would discard it and let the program listen on the host itself", "")
		case p.hostIP == "":
			t.report.approximated(p.path, "published on 127.0.0.1"+hostPorts(p)+"; Docker would take every address of the host", "set host_ip: 0.0.0.0 if others must reach it")
		default:
			t.report.exact(p.path, "published on "+p.hostIP+hostPorts(p))
		}
	}
}

// reportClosed says that what no text of the project names as a port of u is
// closed at its name, where nobody knows what the image listens on.
func (t *translator) reportClosed(u *unit) {
	known := u.ports.known
	if u.ports.headless || len(known) == 0 || u.facts != nil && len(u.facts.Ports) > 0 || !slices.ContainsFunc(u.networks, func(n string) bool { return t.podsOn[n] > 1 }) {
		return
	}
	path := u.path + ".ports"
	switch {
	case len(u.svc.Ports) > 0:
	case len(u.svc.Expose) > 0:
		path = u.path + ".expose"
	default:
		path = u.path + "." + extension
	}
	var open []string
	for _, p := range known[:min(len(known), 10)] {
		open = append(open, strconv.Itoa(p.number))
	}
	more := ""
	if len(known) > 10 {
		more = fmt.Sprintf(" and %d more", len(known)-10)
	}
	t.report.approximated(path, fmt.Sprintf("other services reach %q at %s%s, all the ports that the project's own texts name; in Docker every port is open to them", u.name, strings.Join(open, ", "), more),
		"name further ports in expose")
}

func hostPorts(p publishedPort) string {
	switch {
	case p.first == 0:
		return " at a free port"
	case p.first != p.last:
		return fmt.Sprintf(" at a free port of %d-%d", p.first, p.last)
	}
	return fmt.Sprintf(":%d", p.first)
}
