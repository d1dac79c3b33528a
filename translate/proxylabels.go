package translate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// labelledRoutes returns the routes that a service asks of a well-known proxy:
// Traefik and Caddy by labels, nginx-proxy by variables.
func (t *translator) labelledRoutes(u *unit) []route {
	labels := u.svc.Labels
	if d := u.svc.Deploy; d != nil && len(d.Labels) > 0 {
		labels = mergedLabels(labels, d.Labels)
	}
	out := t.traefikRoutes(u, labels)
	out = append(out, t.caddyRoutes(u, labels)...)
	return append(out, t.virtualHosts(u)...)
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

// virtualHosts reads VIRTUAL_HOST and its kin, of nginx-proxy.
func (t *translator) virtualHosts(u *unit) []route {
	value := func(name string) string {
		if v := u.svc.Environment[name]; v != nil {
			return *v
		}
		return ""
	}
	if value("VIRTUAL_HOST") == "" {
		return nil
	}
	path := u.path + ".environment.VIRTUAL_HOST"
	r := route{port: exposedPort(u), annotations: map[string]string{}}
	if n, err := strconv.Atoi(value("VIRTUAL_PORT")); err == nil && n > 0 && n <= 65535 {
		r.port = n
	}
	if p := value("VIRTUAL_PATH"); strings.HasPrefix(p, "/") {
		if r.paths = t.validPaths(u.path+".environment.VIRTUAL_PATH", []string{p}); len(r.paths) == 0 {
			return nil
		}
		r.strip = value("VIRTUAL_DEST") == "/"
	}
	if strings.HasPrefix(value("VIRTUAL_PROTO"), "https") {
		r.annotations[nginxAnnotation+"backend-protocol"] = "HTTPS"
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
		for _, name := range sortedKeys(labels) {
			if rest, ok := strings.CutPrefix(name, key+"."); ok {
				t.caddyDirective(u, &r, rest, labels[name])
			}
		}
		wanted := len(r.paths)
		if r.paths = t.validPaths(path, r.paths); wanted > 0 && len(r.paths) == 0 {
			continue
		}
		t.report.exact(path, "an Ingress for "+strings.Join(r.hosts, ", "))
		out = append(out, r)
	}
	return out
}

var (
	caddySite      = regexp.MustCompile(`^caddy_[0-9]+$`)
	caddyUpstreams = regexp.MustCompile(`\{\{\s*upstreams(?:\s+https?)?(?:\s+([0-9]+))?\s*\}\}`)
)

// caddyDirective reads one directive of a Caddy site into r.
func (t *translator) caddyDirective(u *unit, r *route, directive, value string) {
	name := directive[strings.LastIndex(directive, ".")+1:]
	name = strings.TrimLeft(name, "0123456789_")
	if name != "reverse_proxy" {
		t.report.dropped(u.path+".labels", fmt.Sprintf("Caddy's %q has no counterpart in the Ingress", directive), "")
		return
	}
	if m := caddyUpstreams.FindStringSubmatch(value); m != nil && m[1] != "" {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 && n <= 65535 {
			r.port = n
		}
	}
	if first, _, ok := strings.Cut(value, " "); ok && strings.HasPrefix(first, "/") {
		r.paths = append(r.paths, strings.TrimSuffix(first, "*"))
	}
}

// traefikRoutes reads Traefik's router labels.
func (t *translator) traefikRoutes(u *unit, labels map[string]string) []route {
	var routers map[string]map[string]string
	for key, value := range labels {
		if rest, ok := cutFold(key, "traefik.http.routers."); ok {
			if name, option, ok := strings.Cut(rest, "."); ok {
				if routers == nil {
					routers = map[string]map[string]string{}
				}
				if routers[name] == nil {
					routers[name] = map[string]string{}
				}
				routers[name][strings.ToLower(option)] = value
			}
		}
	}
	var out []route
	for _, name := range sortedKeys(routers) {
		out = append(out, t.traefikRouter(u, labels, name, routers[name])...)
	}
	if rule, ok := labels["traefik.frontend.rule"]; ok { // Traefik 1
		if hosts, ok := strings.CutPrefix(rule, "Host:"); ok {
			r := route{hosts: t.validHosts(u.path+".labels", strings.Split(hosts, ",")), port: exposedPort(u)}
			if n, err := strconv.Atoi(labels["traefik.port"]); err == nil && n > 0 && n <= 65535 {
				r.port = n
			}
			if len(r.hosts) > 0 {
				out = append(out, r)
			}
		}
	}
	return out
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// traefikRouter translates one router.
func (t *translator) traefikRouter(u *unit, labels map[string]string, name string, router map[string]string) []route {
	path := u.path + ".labels"
	rule := router["rule"]
	if rule == "" {
		return nil
	}
	matches, unknown := parseRule(rule)
	for _, m := range unknown {
		t.report.dropped(path, fmt.Sprintf("the router %q: %s has no counterpart in an Ingress", name, m), "set x-berth.host and x-berth.path")
	}
	base := route{port: t.traefikPort(u, labels, router["service"]), annotations: map[string]string{}}
	t.traefikMiddlewares(u, labels, router["middlewares"], &base)
	if tls := router["tls"]; tls == "true" || router["tls.certresolver"] != "" {
		base.tls = t.routeTLS(u, path)
	}
	var out []route
	for _, m := range matches {
		r := base
		r.hosts, r.paths = t.validHosts(path, m.hosts), t.validPaths(path, m.paths)
		if len(m.paths) > 0 && len(r.paths) == 0 {
			continue
		}
		if len(r.hosts) == 0 {
			if len(m.hosts) > 0 || len(m.paths) == 0 {
				continue
			}
			r.hosts = []string{t.defaultHost(u)}
		}
		out = append(out, r)
		t.report.exact(path, "an Ingress for "+strings.Join(r.hosts, ", "))
	}
	return out
}

// traefikPort is the port of a Traefik service: the named one, else the only
// one that the labels define.
func (t *translator) traefikPort(u *unit, labels map[string]string, service string) int {
	service, _, _ = strings.Cut(service, "@")
	for _, key := range sortedKeys(labels) {
		rest, ok := cutFold(key, "traefik.http.services.")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(rest, ".")
		if !strings.EqualFold(option, "loadbalancer.server.port") || service != "" && name != service {
			continue
		}
		if n, err := strconv.Atoi(labels[key]); err == nil && n > 0 && n <= 65535 {
			return n
		}
	}
	return exposedPort(u)
}

// traefikMiddlewares adds to r what class nginx knows of the middlewares.
func (t *translator) traefikMiddlewares(u *unit, labels map[string]string, list string, r *route) {
	for _, name := range strings.Split(list, ",") {
		name, _, _ = strings.Cut(strings.TrimSpace(name), "@")
		if name == "" {
			continue
		}
		found := false
		for _, key := range sortedKeys(labels) {
			rest, ok := cutFold(key, "traefik.http.middlewares."+name+".")
			if !ok {
				continue
			}
			found = true
			switch option := strings.ToLower(rest); {
			case option == "buffering.maxrequestbodybytes":
				r.annotations[nginxAnnotation+"proxy-body-size"] = labels[key]
			case strings.HasPrefix(option, "stripprefix.prefixes"):
				r.strip = true
			case option == "stripprefix.forceslash":
			default:
				t.report.dropped(u.path+".labels", fmt.Sprintf("Traefik's middleware %q (%s) has no counterpart in the Ingress", name, option), "")
			}
		}
		if !found {
			t.report.dropped(u.path+".labels", fmt.Sprintf("Traefik's middleware %q is not defined by this service", name), "")
		}
	}
}

// match is one way to satisfy a router rule.
type match struct {
	hosts, paths []string
}

// parseRule reads a Traefik rule such as Host(`a`) && (PathPrefix(`/x`) ||
// Path(`/y`)). It returns the alternatives, and the matchers that an Ingress
// does not know, which are left out.
func parseRule(rule string) (matches []match, unknown []string) {
	p := ruleParser{text: rule}
	matches = p.or(0)
	return matches, p.unknown
}

// maxRule bounds the alternatives and the depth of a rule.
const maxRule = 64

type ruleParser struct {
	text    string
	at      int
	unknown []string
}

func (p *ruleParser) skip(token string) bool {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n') {
		p.at++
	}
	if strings.HasPrefix(p.text[p.at:], token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *ruleParser) or(depth int) []match {
	out := p.and(depth)
	for p.skip("||") {
		out = append(out, p.and(depth)...)
	}
	if len(out) > maxRule {
		out = out[:maxRule]
	}
	return out
}

func (p *ruleParser) and(depth int) []match {
	out := p.one(depth)
	for p.skip("&&") {
		right := p.one(depth)
		var both []match
		for _, a := range out {
			for _, b := range right {
				if len(both) < maxRule {
					both = append(both, match{hosts: append(slices.Clone(a.hosts), b.hosts...), paths: append(slices.Clone(a.paths), b.paths...)})
				}
			}
		}
		out = both
	}
	return out
}

func (p *ruleParser) one(depth int) []match {
	if p.skip("!") {
		p.unknown = append(p.unknown, "a negation")
		p.one(depth + 1)
		return []match{{}}
	}
	if p.skip("(") {
		var out []match
		if depth < maxRule {
			out = p.or(depth + 1)
		}
		p.skip(")")
		return out
	}
	end := p.at
	for end < len(p.text) && (p.text[end] >= 'a' && p.text[end] <= 'z' || p.text[end] >= 'A' && p.text[end] <= 'Z') {
		end++
	}
	name := p.text[p.at:end]
	p.at = end
	if name == "" || !p.skip("(") {
		p.unknown = append(p.unknown, fmt.Sprintf("%q", strings.TrimSpace(p.text[min(p.at, len(p.text)):])))
		p.at = len(p.text)
		return []match{{}}
	}
	args := p.arguments()
	switch strings.ToLower(name) {
	case "host":
		return []match{{hosts: args}}
	case "path", "pathprefix":
		return []match{{paths: slices.DeleteFunc(args, func(a string) bool { return !strings.HasPrefix(a, "/") })}}
	}
	p.unknown = append(p.unknown, name)
	return []match{{}}
}

// arguments reads the quoted strings up to the closing parenthesis.
func (p *ruleParser) arguments() []string {
	var out []string
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ')':
			p.at++
			return out
		case '`', '"', '\'':
			end := strings.IndexByte(p.text[p.at+1:], c)
			if end < 0 {
				p.at = len(p.text)
				return out
			}
			out = append(out, p.text[p.at+1:p.at+1+end])
			p.at += end + 2
		default:
			p.at++
		}
	}
	return out
}
