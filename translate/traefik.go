package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// traefikRoutes reads Traefik's router labels.
func (t *translator) traefikRoutes(u *unit, labels map[string]string) []route {
	if enabled, ok := labelFold(labels, "traefik.enable"); ok {
		if on, err := strconv.ParseBool(strings.ToLower(enabled)); err == nil && !on {
			return nil
		}
	}
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
		if by := traefik1Guard(labels); by != "" {
			t.guard(u, u.path+".labels", by)
		} else if hosts, ok := strings.CutPrefix(rule, "Host:"); ok {
			r := route{hosts: t.validHosts(u.path+".labels", strings.Split(hosts, ",")), port: exposedPort(u), annotations: map[string]string{}}
			t.anySize(r.annotations)
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
		t.report.dropped(path, fmt.Sprintf("the router %q: %s has no counterpart in an Ingress; what it is part of is left out", name, m), "set x-berth.host and x-berth.path")
	}
	base := route{port: t.traefikPort(u, labels, router["service"]), annotations: map[string]string{}}
	t.anySize(base.annotations)
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

// labelFold looks up a label without regard to case.
func labelFold(labels map[string]string, name string) (string, bool) {
	for _, key := range sortedKeys(labels) {
		if strings.EqualFold(key, name) {
			return labels[key], true
		}
	}
	return "", false
}

// traefik1Guard returns the label of Traefik 1 that keeps users out, "" for
// none.
func traefik1Guard(labels map[string]string) string {
	for _, key := range sortedKeys(labels) {
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
				r.strip = true
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
