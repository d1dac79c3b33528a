package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// traefikLabels are Traefik's labels of a service, by what they speak of.
type traefikLabels struct {
	all      map[string]string
	keys     []string                     // of all, sorted
	routers  map[string]map[string]string // options, in lower case, by name
	services map[string]map[string]string
	used     map[string]bool // labels, in lower case, that the routes have
}

// readTraefik returns nil for labels that have none of Traefik's.
func readTraefik(labels map[string]string) *traefikLabels {
	keys := slices.DeleteFunc(sortedKeys(labels), func(key string) bool { _, ok := cutFold(key, "traefik."); return !ok })
	if len(keys) == 0 {
		return nil
	}
	l := &traefikLabels{all: labels, keys: keys, routers: map[string]map[string]string{}, services: map[string]map[string]string{}, used: map[string]bool{}}
	for _, key := range keys {
		table := l.routers
		at, ok := cutFold(key, "traefik.http.routers.")
		if !ok {
			table = l.services
			at, ok = cutFold(key, "traefik.http.services.")
		}
		name, option, more := strings.Cut(at, ".")
		if !ok || !more {
			continue
		}
		if table[name] == nil {
			table[name] = map[string]string{}
		}
		table[name][strings.ToLower(option)] = labels[key]
	}
	return l
}

// find looks up a label without regard to case.
func (l *traefikLabels) find(name string) (string, bool) {
	for _, key := range l.keys {
		if strings.EqualFold(key, name) {
			l.used[name] = true
			return l.all[key], true
		}
	}
	return "", false
}

// service returns the options of a Traefik service: of the named one, else of
// the first that says its port.
func (l *traefikLabels) service(router map[string]string) (name string, options map[string]string) {
	name, _, _ = strings.Cut(router["service"], "@")
	if name != "" {
		return name, l.services[name]
	}
	names := sortedKeys(l.services)
	for _, n := range names {
		if l.services[n]["loadbalancer.server.port"] != "" {
			return n, l.services[n]
		}
	}
	if len(names) > 0 {
		return names[0], l.services[names[0]]
	}
	return "", nil
}

// use notes which options of a router or service the routes have.
func (l *traefikLabels) use(table, name string, options ...string) {
	prefix := "traefik.http." + table + "." + name + "."
	for _, key := range l.keys {
		option, ok := cutFold(key, prefix)
		if ok && slices.Contains(options, strings.ToLower(option)) {
			l.used[strings.ToLower(key)] = true
		}
	}
}

// rest are the labels that the routes lack.
func (l *traefikLabels) rest() []string {
	return slices.DeleteFunc(slices.Clone(l.keys), func(key string) bool {
		name := strings.ToLower(key)
		if l.used[name] || strings.HasPrefix(name, "traefik.http.middlewares.") || strings.HasPrefix(name, "traefik.docker.") {
			return true // middlewares are looked at where a router names them; pods have one network
		}
		value := strings.ToLower(l.all[key])
		return strings.HasPrefix(name, "traefik.http.") && strings.HasSuffix(name, ".entrypoints") && isWeb(value) ||
			strings.HasSuffix(name, ".loadbalancer.passhostheader") && value == "true"
	})
}

// isWeb reports whether a list of entry points names only those of the web,
// which the Ingress has too.
func isWeb(list string) bool {
	return !slices.ContainsFunc(splitList(list), func(name string) bool {
		return !slices.Contains([]string{"web", "websecure", "web-secure", "http", "https"}, name)
	})
}

// traefikRoutes reads Traefik's router labels.
func (t *translator) traefikRoutes(u *unit, labels map[string]string) []route {
	l := readTraefik(labels)
	if l == nil {
		return nil
	}
	if enabled, ok := l.find("traefik.enable"); ok {
		if on, err := strconv.ParseBool(strings.ToLower(enabled)); err == nil && !on {
			return nil
		}
	}
	var out []route
	for _, name := range sortedKeys(l.routers) {
		out = append(out, t.traefikRouter(u, l, name)...)
	}
	out = append(out, t.traefik1(u, l)...)
	if rest := l.rest(); len(rest) > 0 {
		t.report.dropped(u.path+".labels", "no counterpart in the Ingress: "+strings.Join(rest, ", "), "")
	}
	return out
}

// traefik1 reads the labels of Traefik 1.
func (t *translator) traefik1(u *unit, l *traefikLabels) []route {
	rule, ok := l.all["traefik.frontend.rule"]
	if !ok {
		return nil
	}
	if by := traefik1Guard(l.keys); by != "" {
		t.guard(u, u.path+".labels", by)
		return nil
	}
	hosts, ok := strings.CutPrefix(rule, "Host:")
	if !ok {
		return nil
	}
	for _, name := range []string{"frontend.rule", "port", "protocol", "backend"} {
		l.used["traefik."+name] = true
	}
	port := portNumber(l.all["traefik.port"], exposedPort(u))
	r := route{hosts: t.validHosts(u.path+".labels", strings.Split(hosts, ",")), port: port, annotations: t.backendFor(u, port, l.all["traefik.protocol"])}
	if len(r.hosts) == 0 {
		return nil
	}
	return []route{r}
}

// portNumber reads the number of a port, which is another one when it is none.
func portNumber(text string, other int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 65535 {
		return n
	}
	return other
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// traefikRouter translates one router.
func (t *translator) traefikRouter(u *unit, l *traefikLabels, name string) []route {
	path, router := u.path+".labels", l.routers[name]
	rule := router["rule"]
	if rule == "" {
		return nil
	}
	l.use("routers", name, "rule", "service", "middlewares", "tls", "tls.certresolver")
	if len(rule) > maxRuleText {
		u.guarded = true
		t.report.dropped(path, fmt.Sprintf("the router %q is left out: its rule is longer than %d characters", name, maxRuleText), "set x-berth.host and x-berth.path")
		return nil
	}
	matches, unknown := parseRule(rule)
	for _, m := range unknown {
		t.report.dropped(path, fmt.Sprintf("the router %q: %s has no counterpart in an Ingress; what it is part of is left out", name, m), "set x-berth.host and x-berth.path")
	}
	base := t.traefikBackend(u, l, router)
	if by := t.traefikMiddlewares(u, router["middlewares"], &base, 0); by != "" {
		t.guard(u, path, by)
		return nil
	}
	if tls := router["tls"]; tls == "true" || router["tls.certresolver"] != "" {
		base.tls = t.routeTLS(u, path)
	}
	var out []route
	for _, m := range matches {
		if m.wide {
			u.guarded = true
			continue // what is left of it would let in more than the rule does
		}
		r := base
		r.exact = m.exact
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
		out = append(out, t.stripped(path, r)...)
		t.report.exact(path, "an Ingress for "+strings.Join(r.hosts, ", "))
	}
	return out
}

// traefikBackend is where a router leads: port, protocol and stickiness of its
// Traefik service.
func (t *translator) traefikBackend(u *unit, l *traefikLabels, router map[string]string) route {
	name, options := l.service(router)
	port := portNumber(options["loadbalancer.server.port"], exposedPort(u))
	scheme := strings.ToLower(options["loadbalancer.server.scheme"])
	l.use("services", name, "loadbalancer.server.port", "loadbalancer.server.scheme", "loadbalancer.sticky", "loadbalancer.sticky.cookie", "loadbalancer.sticky.cookie.name")
	r := route{port: port, annotations: t.backendFor(u, port, scheme)}
	cookie, sticky := options["loadbalancer.sticky.cookie.name"]
	if sticky || options["loadbalancer.sticky.cookie"] == "true" || options["loadbalancer.sticky"] == "true" {
		r.annotations[nginxAnnotation+"affinity"] = "cookie"
		if isLabelValue(cookie) && cookie != "" {
			r.annotations[nginxAnnotation+"session-cookie-name"] = cookie
		}
	}
	return r
}

// traefik1Guard returns the label of Traefik 1 that keeps users out, "" for
// none.
func traefik1Guard(keys []string) string {
	for _, key := range keys {
		if strings.HasPrefix(key, "traefik.frontend.auth") || strings.HasPrefix(key, "traefik.frontend.whiteList") {
			return key
		}
	}
	return ""
}

// maxChain bounds how many chains of middlewares are followed into each other.
const maxChain = 8

// traefikMiddlewares adds to r what class nginx knows of the middlewares. It
// returns the first that may keep users out, "" for none. All services of a
// project define middlewares for all.
func (t *translator) traefikMiddlewares(u *unit, list string, r *route, depth int) (guard string) {
	for _, name := range strings.Split(list, ",") {
		name, _, _ = strings.Cut(strings.TrimSpace(name), "@")
		if name == "" {
			continue
		}
		options := t.middleware(name)
		if len(options) == 0 {
			return fmt.Sprintf("the middleware %q, which no service of the project defines,", name)
		}
		for _, option := range sortedKeys(options) {
			kind, _, _ := strings.Cut(option, ".")
			switch {
			case option == "buffering.maxrequestbodybytes":
				r.annotations[nginxAnnotation+"proxy-body-size"] = options[option]
			case strings.HasPrefix(option, "stripprefix.prefixes"):
				r.strip = append(r.strip[:len(r.strip):len(r.strip)], splitList(options[option])...)
			case option == "stripprefix.forceslash":
			case slices.Contains([]string{"basicauth", "digestauth", "forwardauth", "ipallowlist", "ipwhitelist", "plugin"}, kind):
				return fmt.Sprintf("the middleware %q (%s)", name, kind)
			case strings.HasPrefix(option, "chain.middlewares") && depth < maxChain:
				if guard := t.traefikMiddlewares(u, options[option], r, depth+1); guard != "" {
					return guard
				}
			default:
				t.report.dropped(u.path+".labels", fmt.Sprintf("Traefik's middleware %q (%s) has no counterpart in the Ingress", name, option), "")
			}
		}
	}
	return ""
}

// middleware returns the options of a middleware of Traefik, by lower case
// name.
func (t *translator) middleware(name string) map[string]string {
	if t.middlewares == nil {
		t.middlewares = map[string]map[string]string{}
		for _, u := range t.units {
			for key, value := range proxyLabels(u) {
				if rest, ok := cutFold(key, "traefik.http.middlewares."); ok {
					of, option, _ := strings.Cut(rest, ".")
					if t.middlewares[of] == nil {
						t.middlewares[of] = map[string]string{}
					}
					t.middlewares[of][strings.ToLower(option)] = value
				}
			}
		}
	}
	return t.middlewares[name]
}
