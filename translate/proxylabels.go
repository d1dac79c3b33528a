package translate

import (
	"fmt"
	"regexp"
	"strings"
)

// labelledRoutes returns the routes that a service asks of a well-known proxy:
// Traefik and Caddy by labels, nginx-proxy by variables.
func (t *translator) labelledRoutes(u *unit) []route {
	labels := proxyLabels(u)
	out := t.traefikRoutes(u, labels)
	out = append(out, t.caddyRoutes(u, labels)...)
	return append(out, t.virtualHosts(u)...)
}

// proxyLabels are the labels of u in which proxies read what to do.
func proxyLabels(u *unit) map[string]string {
	if d := u.svc.Deploy; d != nil && len(d.Labels) > 0 {
		return mergedLabels(u.svc.Labels, d.Labels)
	}
	return u.svc.Labels
}

// guard leaves out a route that the proxy would guard in a way the Ingress
// cannot: the site would be open to all.
func (t *translator) guard(u *unit, path, by string) {
	u.guarded = true
	t.report.dropped(path, fmt.Sprintf("no Ingress: %s guards the site, has no counterpart there, and without it the site would be open to all", by),
		"set x-berth.host if it may be, or put an authenticating proxy in front")
}

// exposedPort is the port a proxy would take when it is told none: the lowest
// one, 80 when none is known.
func exposedPort(u *unit) int {
	for _, p := range u.ports.known {
		if p.protocol == "tcp" {
			return p.number
		}
	}
	return 80
}

// virtualKeys are the variables of nginx-proxy that virtualHosts reads.
var virtualKeys = map[string]bool{"VIRTUAL_HOST": true, "VIRTUAL_PORT": true, "VIRTUAL_PATH": true, "VIRTUAL_DEST": true, "VIRTUAL_PROTO": true}

// virtualHosts reads VIRTUAL_HOST and its kin, of nginx-proxy.
func (t *translator) virtualHosts(u *unit) []route {
	value := func(name string) string {
		if v := u.svc.Environment[name]; v != nil {
			return *v
		}
		return ""
	}
	lost := func(name, why string) { t.report.dropped(u.path+".environment."+name, why, "") }
	if value("VIRTUAL_HOST")+value("VIRTUAL_HOST_MULTIPORTS") == "" {
		return nil
	}
	for _, name := range sortedKeys(u.svc.Environment) {
		if strings.HasPrefix(name, "VIRTUAL_") && !virtualKeys[name] {
			lost(name, "no counterpart in the Ingress")
		}
	}
	path := u.path + ".environment.VIRTUAL_HOST"
	if value("NETWORK_ACCESS") == "internal" {
		t.guard(u, path, "NETWORK_ACCESS")
		return nil
	}
	r := route{port: portNumber(value("VIRTUAL_PORT"), exposedPort(u))}
	if text := value("VIRTUAL_PORT"); text != "" && portNumber(text, 0) == 0 {
		lost("VIRTUAL_PORT", fmt.Sprintf("%q is no port; the Ingress leads to %d", text, r.port))
	}
	protocol := value("VIRTUAL_PROTO")
	switch protocol {
	case "", "http", "https", "grpc", "grpcs":
	default:
		lost("VIRTUAL_PROTO", fmt.Sprintf("the Ingress speaks HTTP to the service, not %q", protocol))
	}
	r.annotations = t.backendFor(u, r.port, protocol)
	delete(r.annotations, nginxAnnotation+"proxy-body-size") // nginx-proxy has the limit of nginx too
	if p := value("VIRTUAL_PATH"); strings.HasPrefix(p, "/") {
		if r.paths = t.validPaths(u.path+".environment.VIRTUAL_PATH", []string{p}); len(r.paths) == 0 {
			return nil
		}
	}
	switch dest := value("VIRTUAL_DEST"); {
	case dest == "/":
		r.strip = r.paths
	case dest != "" && (len(r.paths) == 0 || dest != r.paths[0]):
		lost("VIRTUAL_DEST", fmt.Sprintf("the Ingress passes paths on as they are, not below %q", dest))
	}
	r.hosts = t.validHosts(path, strings.Split(value("VIRTUAL_HOST"), ","))
	if len(r.hosts) == 0 {
		return nil
	}
	if value("LETSENCRYPT_HOST") != "" {
		r.tls = t.routeTLS(u, u.path+".environment.LETSENCRYPT_HOST")
	}
	t.report.exact(path, "an Ingress for "+strings.Join(r.hosts, ", "))
	return []route{r}
}

// validHosts returns the host names an Ingress takes, and reports the others.
func (t *translator) validHosts(path string, hosts []string) []string {
	var out []string
	for _, h := range hosts {
		h = strings.ToLower(strings.TrimSpace(h))
		h, _, _ = strings.Cut(h, ":")
		switch {
		case h == "":
		case isHost(h):
			out = append(out, h)
		default:
			t.report.dropped(path, fmt.Sprintf("%q is no host name of an Ingress", h), "set x-berth.host")
		}
	}
	return out
}

// validPaths returns the paths an Ingress takes, and reports the others.
func (t *translator) validPaths(path string, paths []string) []string {
	var out []string
	for _, p := range paths {
		if isPath(p) {
			out = append(out, p)
			continue
		}
		t.report.dropped(path, fmt.Sprintf("%q is no path of an Ingress", p), "write it without //, /./, /../ and %2F")
	}
	return out
}

// routeTLS returns the Secret of a route that wants TLS. The certificate of a
// name of the internet is not for a laptop.
func (t *translator) routeTLS(u *unit, path string) string {
	if t.owned() {
		t.report.approximated(path, "served without TLS", "set x-berth.tlsSecret")
		return ""
	}
	secret := suffixed(u.kube, "-tls", maxSubdomain)
	t.report.needsCluster(path, fmt.Sprintf("TLS with the Secret %q, which must exist", secret), "kubectl create secret tls "+secret+", or cert-manager")
	return secret
}

// caddyRoutes reads the labels of caddy-docker-proxy: caddy, caddy_1 and so
// on, each with reverse_proxy.
func (t *translator) caddyRoutes(u *unit, labels map[string]string) []route {
	var out []route
	for _, key := range sortedKeys(labels) {
		if key != "caddy" && !caddySite.MatchString(key) {
			continue
		}
		path := u.path + ".labels"
		var hosts []string
		for _, site := range strings.FieldsFunc(labels[key], func(r rune) bool { return r == ' ' || r == ',' }) {
			site = strings.TrimPrefix(strings.TrimPrefix(site, "http://"), "https://")
			site, _, _ = strings.Cut(site, "/")
			hosts = append(hosts, site)
		}
		r := route{hosts: t.validHosts(path, hosts), port: exposedPort(u)}
		if len(r.hosts) == 0 {
			continue
		}
		open, scheme := true, ""
		for _, name := range sortedKeys(labels) {
			if rest, ok := strings.CutPrefix(name, key+"."); ok {
				if by := caddyGuard(rest); by != "" && open {
					open = false
					t.guard(u, path, "Caddy's "+by)
				}
				if m := caddyUpstreams.FindStringSubmatch(labels[name]); m != nil {
					scheme = m[1]
				}
				t.caddyDirective(u, &r, rest, labels[name])
			}
		}
		if !open {
			continue
		}
		wanted := len(r.paths)
		if r.paths = t.validPaths(path, r.paths); wanted > 0 && len(r.paths) == 0 {
			continue
		}
		r.annotations = t.backendFor(u, r.port, scheme)
		t.report.exact(path, "an Ingress for "+strings.Join(r.hosts, ", "))
		out = append(out, r)
	}
	return out
}

var (
	caddySite      = regexp.MustCompile(`^caddy_[0-9]+$`)
	caddyUpstreams = regexp.MustCompile(`\{\{\s*upstreams(?:\s+(https?))?(?:\s+([0-9]+))?\s*\}\}`)
)

// caddyGuard returns the directive of a label that keeps users out, "" for
// none: one that asks who they are, or a matcher, which may be part of that.
func caddyGuard(label string) string {
	for _, name := range strings.Split(label, ".") {
		name = strings.TrimLeft(name, "0123456789_")
		switch name {
		case "basicauth", "basic_auth", "forward_auth", "authorize", "authenticate", "abort", "jwtauth":
			return name
		}
		if strings.HasPrefix(name, "@") {
			return name
		}
	}
	return ""
}

// caddyDirective reads one directive of a Caddy site into r.
func (t *translator) caddyDirective(u *unit, r *route, directive, value string) {
	name := directive[strings.LastIndex(directive, ".")+1:]
	name = strings.TrimLeft(name, "0123456789_")
	if name != "reverse_proxy" {
		t.report.dropped(u.path+".labels", fmt.Sprintf("Caddy's %q has no counterpart in the Ingress", directive), "")
		return
	}
	if m := caddyUpstreams.FindStringSubmatch(value); m != nil {
		r.port = portNumber(m[2], r.port)
	}
	if first, _, ok := strings.Cut(value, " "); ok && strings.HasPrefix(first, "/") {
		r.paths = append(r.paths, strings.TrimSuffix(first, "*"))
	}
}
