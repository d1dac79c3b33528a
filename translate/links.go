package translate

import (
	"fmt"
	"slices"
	"strings"
)

// link is an alias that the links of a service give to another one. In Docker
// the linking container alone knows it, and knows nothing else by that name.
type link struct {
	name   string
	path   string // the attribute that gives it
	host   *unit  // whose pod knows it
	target *unit
}

// resolveLinks decides what the aliases of links lead to. With zones of berth's
// DNS they stand in a zone of the pod's own. Without, a name is the same for
// all pods, and goes with the aliases (add) unless that would lead some of them
// to another service than in Docker.
func (t *translator) resolveLinks(aliases map[string]map[string][]aliasUse, add func(name, path string, u *unit, networks []string)) {
	links := t.findLinks()
	if t.target.DNSZone != "" {
		t.links = links
		for _, l := range links {
			if t.linkZones[l.host] == "" {
				t.linkZones[l.host] = t.zones.take(l.host.kube + "-links")
			}
			if isResolvable(l.name) {
				t.report.exact(l.path, fmt.Sprintf("%q is %s in the pods of %s alone", l.name, l.target.name, l.host.name))
			} else {
				t.reportName(l.path, l.name, l.target.kube)
			}
		}
		return
	}
	others := map[string][]*unit{} // who goes by the name: one besides any of them is enough
	note := func(name string, u *unit) {
		if list := others[name]; len(list) < 2 && !slices.Contains(list, u) {
			others[name] = append(list, u)
		}
	}
	for _, l := range links {
		note(l.name, l.target)
	}
	for name := range others {
		for _, network := range sortedKeys(aliases[name]) {
			for _, use := range aliases[name][network] {
				note(name, use.unit)
			}
		}
		if owner := t.services[name]; owner != nil {
			note(name, owner)
		}
	}
	for _, l := range links {
		at := slices.IndexFunc(others[l.name], func(u *unit) bool { return u != l.target })
		if at < 0 {
			add(l.name, l.path, l.target, common(l.host.networks, l.target.networks))
			continue
		}
		t.report.block(l.path, NeedsCluster, fmt.Sprintf("%q does not lead to %s: %s goes by that name too, and a name is the same for all pods", l.name, l.target.name, others[l.name][at].name),
			"use the name "+l.target.name+", or a cluster made by berth")
	}
}

// findLinks reads the links of all services, sorted by service. Those without
// an alias of their own need nothing.
func (t *translator) findLinks() []link {
	type known struct {
		host *unit
		name string
	}
	var out []link
	first := map[known]*unit{} // where a pod's name leads
	for _, u := range t.units {
		for i, text := range u.svc.Links {
			service, name, _ := strings.Cut(text, ":")
			target := t.services[service]
			if target == nil || name == "" || name == service {
				continue
			}
			l := link{name: name, path: itemPath(u.path, "links", i), host: u.host, target: target}
			key := known{l.host, strings.ToLower(l.name)}
			before := first[key]
			switch {
			case !t.hasNameService(target) || len(common(u.networks, target.networks)) == 0:
				t.report.dropped(l.path, fmt.Sprintf("%q does not resolve: %s is on no network of %s", name, service, u.name), "")
			case before == nil:
				first[key] = target
				out = append(out, l)
			case before != target:
				t.report.block(l.path, Dropped, fmt.Sprintf("%q leads to %s already", name, before.name), "remove one of the links")
			}
		}
	}
	return out
}

// linkZone is the DNS zone that the pods of u alone search.
func (t *translator) linkZone(u *unit) string {
	return t.linkZones[u] + "." + t.namespace + "." + t.target.DNSZone
}
