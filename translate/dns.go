package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// hostName is the name of the host, as Docker Desktop and host-gateway know it.
const hostName = "host.docker.internal"

// hostAliases returns the lines of /etc/hosts that extra_hosts adds, and on an
// owned cluster the host's own name, sorted by address.
func (t *translator) hostAliases(units []*unit) []corev1.HostAlias {
	byIP := map[string][]string{}
	add := func(ip, host string) {
		if !slices.Contains(byIP[ip], host) {
			byIP[ip] = append(byIP[ip], host)
		}
	}
	if t.owned() && t.target.HostGateway != "" {
		add(t.target.HostGateway, hostName)
	}
	for _, u := range units {
		path, left := u.path+".extra_hosts", 0
		for _, host := range sortedKeys(u.svc.ExtraHosts) {
			if !isDNSName(strings.ToLower(host)) {
				t.report.dropped(path, fmt.Sprintf("%q is no DNS name, and /etc/hosts of a pod takes no other", host), "")
				continue
			}
			for _, ip := range u.svc.ExtraHosts[host] {
				if ip == "host-gateway" {
					ip = t.hostGateway(path, host)
				} else if owner := t.fixed[ip]; owner != "" {
					t.report.dropped(path, fmt.Sprintf("%s is left out: %s is the address of %q in a compose network, which no pod has", host, ip, owner), "use the name "+owner)
					continue
				} else if !isAddress(ip) {
					t.report.dropped(path, fmt.Sprintf("%q of %s is no address", ip, host), "")
					continue
				}
				if ip != "" && !t.fits(u, 1, []string{host, ip}) {
					left++
				} else if ip != "" {
					add(ip, strings.ToLower(host))
				}
			}
		}
		if left > 0 {
			t.report.dropped(path, fmt.Sprintf("%d hosts are left out: a pod has room for %d bytes of all its commands, variables and hosts", left, maxVariables), "")
		}
	}
	var out []corev1.HostAlias
	for _, ip := range sortedKeys(byIP) {
		slices.Sort(byIP[ip])
		out = append(out, corev1.HostAlias{IP: ip, Hostnames: byIP[ip]})
	}
	return out
}

// isAddress reports whether s is an IP address as Kubernetes takes it: without
// a zone.
func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// hostGateway returns the address of the host, "" when it is not known.
func (t *translator) hostGateway(path, host string) string {
	if t.target.HostGateway == "" {
		if t.owned() {
			t.report.approximated(path, host+" is left out: the cluster's gateway is not known yet", "translate for a cluster that exists")
		} else {
			t.report.needsCluster(path, host+" is left out: a pod of any cluster does not know your machine", "use a name or address that the cluster resolves")
		}
	}
	return t.target.HostGateway
}

// dns returns the DNS settings of the pods of u.
func (t *translator) dns(u *unit) (corev1.DNSPolicy, *corev1.PodDNSConfig) {
	config := corev1.PodDNSConfig{Nameservers: t.nameservers(u)}
	policy := corev1.DNSClusterFirst
	if u.svc.NetworkMode == "host" {
		policy = corev1.DNSClusterFirstWithHostNet
	}
	if t.target.DNSZone != "" && t.target.DNSAddress != "" && len(u.networks) > 0 {
		policy = corev1.DNSNone
		config.Nameservers = append([]string{t.target.DNSAddress}, config.Nameservers...)
		if t.linkZones[u] != "" { // first, as in Docker
			config.Searches = append(config.Searches, t.linkZone(u))
		}
		for _, n := range u.networks {
			config.Searches = append(config.Searches, t.zone(n))
		}
	}
	config.Searches = t.searches(u, config.Searches)
	for _, o := range u.svc.DNSOpts {
		name, value, ok := strings.Cut(o, ":")
		if name == "" {
			t.report.dropped(u.path+".dns_opt", fmt.Sprintf("%q is no option of a resolver", o), "")
			continue
		}
		option := corev1.PodDNSConfigOption{Name: name}
		if ok {
			option.Value = ptr(value)
		}
		config.Options = append(config.Options, option)
	}
	if policy == corev1.DNSNone && !slices.ContainsFunc(config.Options, func(o corev1.PodDNSConfigOption) bool { return o.Name == "ndots" }) {
		config.Options = append(config.Options, corev1.PodDNSConfigOption{Name: "ndots", Value: ptr(strconv.Itoa(t.mostDots + 1))})
	}
	if len(config.Nameservers)+len(config.Searches)+len(config.Options) == 0 {
		return policy, nil
	}
	return policy, ptr(config)
}

// Bounds of the search list of a pod: its domains, and the characters of all.
const (
	maxSearches   = 32
	maxSearchText = 2048
)

// searches adds dns_search of u to the zones that its pods search, as far as
// the list of a pod goes.
func (t *translator) searches(u *unit, zones []string) []string {
	all := zones
	for _, s := range u.svc.DNSSearch {
		s = strings.ToLower(s)
		if s == "." || isDNSName(strings.TrimSuffix(s, ".")) {
			all = append(all, s)
		} else {
			t.report.dropped(u.path+".dns_search", fmt.Sprintf("%q is no DNS name", s), "")
		}
	}
	size := -1
	for i, s := range all {
		if size += len(s) + 1; i < maxSearches && size <= maxSearchText {
			continue
		}
		left := fmt.Sprintf("a pod has at most %d search domains of %d characters together; left out: ", maxSearches, maxSearchText)
		if i < len(zones) {
			t.report.dropped(u.path+".networks", left+"names of "+strings.Join(zones[i:], ", "), "put services that need each other on fewer networks")
		}
		if own := all[max(i, len(zones)):]; len(own) > 0 {
			t.report.dropped(u.path+".dns_search", left+strings.Join(own, ", "), "")
		}
		return all[:i]
	}
	return all
}

// dots is the most dots that a name of the project has. A name with more is
// asked as it is first, so that names of the internet cost one question; one
// with as many must be looked up in the zones before (musl's resolver would
// not look there any more).
func (t *translator) dots() int {
	most := 0
	for _, u := range t.units {
		most = max(most, strings.Count(u.name, "."))
		for _, a := range u.aliases {
			most = max(most, strings.Count(a.name, "."))
		}
		for _, link := range u.svc.Links {
			_, name, _ := strings.Cut(link, ":")
			most = max(most, strings.Count(name, "."))
		}
	}
	return min(most, 14) // a resolver takes 15 at most
}

// fixedAddresses are the addresses that services have in compose networks.
func (t *translator) fixedAddresses() map[string]string {
	out := map[string]string{}
	for _, u := range t.units {
		for _, network := range sortedKeys(u.svc.Networks) {
			if n := u.svc.Networks[network]; n != nil {
				out[n.Ipv4Address], out[n.Ipv6Address] = u.name, u.name
			}
		}
	}
	delete(out, "")
	return out
}

// nameservers returns the servers of `dns`, at most the two that fit beside
// the cluster's own.
func (t *translator) nameservers(u *unit) []string {
	var out []string
	for _, s := range u.svc.DNS {
		if owner := t.fixed[s]; owner != "" {
			t.report.dropped(u.path+".dns", fmt.Sprintf("%s is the address of %q in a compose network, which no pod has", s, owner), "forward the domain to "+owner+" in the cluster's CoreDNS")
			continue
		}
		if !isAddress(s) {
			t.report.dropped(u.path+".dns", fmt.Sprintf("%q is no address", s), "")
			continue
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) > 2 {
		t.report.dropped(u.path+".dns", "a pod asks three servers at most, the cluster's among them; left out: "+strings.Join(out[2:], ", "), "")
		out = out[:2]
	}
	if len(out) > 0 {
		t.report.approximated(u.path+".dns", "asked only when the cluster's own server does not answer", "forward the domain in the cluster's CoreDNS")
	}
	return out
}

// zone is the DNS zone of a compose network.
func (t *translator) zone(network string) string {
	return t.networkName(network) + "." + t.namespace + "." + t.target.DNSZone
}

// hostNames are the pod fields that make up its host name.
type hostNames struct {
	hostname, subdomain string
	override            *string
	fqdn                *bool
}

// hostNamesOf translates hostname and domainname. A host name with dots needs
// the pod's hostnameOverride, which clusters made by berth have.
func (t *translator) hostNamesOf(u *unit) hostNames {
	var h hostNames
	name, domain := strings.ToLower(u.svc.Hostname), strings.ToLower(u.svc.DomainName)
	path := u.path + ".hostname"
	if name == "" && domain != "" {
		name = u.kube
	}
	switch {
	case name == "":
		return h
	case u.svc.NetworkMode == "host":
		t.report.dropped(path, "a pod in its node's network has the node's name", "")
		return h
	case strings.Contains(name, ".") && isDNSName(name) && len(name) <= 64 && t.owned():
		h.override = ptr(name)
	case strings.Contains(name, ".") && isDNSName(name):
		first, rest, _ := strings.Cut(name, ".")
		h.hostname, h.subdomain, h.fqdn = first, shorten(sanitize(rest), rest, maxLabel), ptr(true)
		if len(h.hostname)+len(h.subdomain)+len(t.namespace)+20 > 64 { // Linux allows 64 bytes
			h.fqdn = nil
		}
		t.report.approximated(path, fmt.Sprintf("the pod calls itself %s.%s.%s.svc.cluster.local", h.hostname, h.subdomain, t.namespace), "")
	default:
		h.hostname = shorten(strings.TrimPrefix(sanitize(name), "s-"), name, maxLabel)
		if isDNSName(name) && len(name) <= maxLabel {
			h.hostname = name
		}
		if h.hostname != u.svc.Hostname && u.svc.Hostname != "" {
			t.report.approximated(path, fmt.Sprintf("the pod calls itself %q", h.hostname), "")
		}
	}
	if domain != "" {
		t.domain(u, domain, &h)
	}
	return h
}

// domain adds domainname to h.
func (t *translator) domain(u *unit, domain string, h *hostNames) {
	path := u.path + ".domainname"
	if h.subdomain != "" || h.override != nil {
		t.report.dropped(path, "the host name has a domain already", "")
		return
	}
	h.subdomain = shorten(sanitize(domain), domain, maxLabel)
	t.report.approximated(path, fmt.Sprintf("the pod's full name is %s.%s.%s.svc.cluster.local", h.hostname, h.subdomain, t.namespace), "")
}
