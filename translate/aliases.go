package translate

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// alias is a further name of a unit on some of its networks.
type alias struct {
	name     string
	path     string   // the attribute that gives it
	networks []string // sorted
}

// aliasesOf collects the names of u besides its own, sorted: container_name,
// hostname, and the aliases of its networks.
func (t *translator) aliasesOf(u *unit) []alias {
	if len(u.networks) == 0 {
		return nil
	}
	byName := map[string]*alias{}
	add := func(name, path string, networks ...string) {
		name = strings.TrimSuffix(name, ".")
		if name == "" || name == u.name {
			return
		}
		a := byName[name]
		if a == nil {
			a = &alias{name: name, path: path}
			byName[name] = a
		}
		for _, n := range networks {
			if !slices.Contains(a.networks, n) {
				a.networks = append(a.networks, n)
			}
		}
	}
	add(u.svc.ContainerName, u.path+".container_name", u.networks...)
	add(u.svc.Hostname, u.path+".hostname", u.networks...)
	for _, network := range sortedKeys(u.svc.Networks) {
		if n := u.svc.Networks[network]; n != nil {
			for i, name := range n.Aliases {
				add(name, fmt.Sprintf("%s.networks.%s.aliases[%d]", u.path, network, i), network)
			}
		}
	}
	out := make([]alias, 0, len(byName))
	for _, name := range sortedKeys(byName) {
		sort.Strings(byName[name].networks)
		out = append(out, *byName[name])
	}
	return out
}

// aliasGroup is an alias with all the units that have it.
type aliasGroup struct {
	name  string
	kube  string // the kubeService made for it, or that of its only unit
	made  bool   // a kubeService of its own is needed
	users []*unit
	paths []string
	nets  [][]string
}

// aliasGroups gathers the aliases of all units, those of links included, by
// name, and decides which need a kubeService of their own.
func (t *translator) aliasGroups() []aliasGroup {
	byName := map[string]*aliasGroup{}
	add := func(name, path string, u *unit, networks []string) {
		g := byName[name]
		if g == nil {
			g = &aliasGroup{name: name}
			byName[name] = g
		}
		if at := slices.Index(g.users, u); at >= 0 {
			g.nets[at] = union(g.nets[at], networks)
			return
		}
		g.users, g.paths, g.nets = append(g.users, u), append(g.paths, path), append(g.nets, networks)
	}
	for _, u := range t.units {
		for _, a := range u.aliases {
			add(a.name, a.path, u, a.networks)
		}
	}
	for _, u := range t.units {
		for i, link := range u.svc.Links {
			service, name, ok := strings.Cut(link, ":")
			if target := t.services[service]; ok && target != nil && name != service {
				add(name, fmt.Sprintf("%s.links[%d]", u.path, i), target, common(u.networks, target.networks))
			}
		}
	}
	groups := make([]aliasGroup, 0, len(byName))
	for _, name := range sortedKeys(byName) {
		g := *byName[name]
		t.placeAlias(&g)
		groups = append(groups, g)
	}
	return groups
}

// placeAlias decides which kubeService answers to an alias.
func (t *translator) placeAlias(g *aliasGroup) {
	g.kube = g.users[0].kube
	path := g.paths[0]
	if owner := t.services[g.name]; owner != nil {
		g.kube = owner.kube
		t.report.approximated(path, fmt.Sprintf("%q leads to the service of that name only", g.name), "rename the alias")
		return
	}
	fits := isLabel(g.name) && len(g.name) <= maxLabel && !t.kubeNames.taken[g.name]
	switch {
	case fits:
		g.made, g.kube = true, t.kubeNames.take(g.name)
	case len(g.users) > 1:
		g.made, g.kube = true, t.kubeNames.take(g.name)
		fallthrough
	default:
		t.reportName(path, g.name, g.kube)
	}
}

// reportName says how a name that no Kubernetes Service can have resolves.
func (t *translator) reportName(path, name, kube string) {
	switch {
	case name == kube:
	case t.target.DNSZone != "" && isResolvable(name):
		t.report.exact(path, fmt.Sprintf("%q resolves through the cluster's DNS, to the Service %q", name, kube))
	case t.owned():
		t.report.approximated(path, fmt.Sprintf("resolves as %q: no Service can be called %q", kube, name), "use the name "+kube)
	default:
		t.report.needsCluster(path, fmt.Sprintf("resolves as %q: no Service can be called %q", kube, name), "use the name "+kube+", or a cluster made by berth")
	}
}

// aliasServices returns the kubeServices of the aliases.
func (t *translator) aliasServices(groups []aliasGroup) []Object {
	var out []Object
	for _, g := range groups {
		if !g.made {
			continue
		}
		u := g.users[0]
		s := t.nameService(u)
		s.Name = g.kube
		if g.kube != g.name {
			s.Annotations = map[string]string{annotationName: g.name}
		}
		if len(g.users) > 1 {
			s.Labels = t.labels(nil)
			s.Spec.Selector = map[string]string{labelProject: LabelValue(t.project.Name), aliasLabel(g.name): "true"}
			s.Spec.ClusterIP, s.Spec.Ports = corev1.ClusterIPNone, nil
		}
		out = append(out, s)
	}
	return out
}

// aliasLabels returns the labels by which the kubeServices of aliases that
// several units have find their pods.
func aliasLabels(groups []aliasGroup) map[*unit]map[string]string {
	labels := map[*unit]map[string]string{}
	for _, g := range groups {
		if !g.made || len(g.users) < 2 {
			continue
		}
		for _, u := range g.users {
			if labels[u.host] == nil {
				labels[u.host] = map[string]string{}
			}
			labels[u.host][aliasLabel(g.name)] = "true"
		}
	}
	return labels
}

func aliasLabel(name string) string {
	return labelAlias + shorten(sanitize(name), name, maxLabel)
}

// names lists every name that Docker would resolve, by network.
func (t *translator) names(groups []aliasGroup) []Name {
	var out []Name
	for _, u := range t.units {
		for _, network := range u.networks {
			if t.hasNameService(u) && u.svc.Networks[network].ServiceNameAliasEnabled() {
				out = append(out, t.name(network, u.name, u.kube))
			}
		}
	}
	for _, g := range groups {
		nets := []string{}
		for _, n := range g.nets {
			nets = union(nets, n)
		}
		for _, network := range nets {
			out = append(out, t.name(network, g.name, g.kube))
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Network != b.Network {
			return a.Network < b.Network
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		return a.KubeService < b.KubeService
	})
	return slices.Compact(out)
}

// name is one name of a network. What no DNS message can carry has no FQDN.
func (t *translator) name(network, name, kube string) Name {
	n := Name{Network: network, Name: name, KubeService: kube}
	if t.target.DNSZone != "" && isResolvable(name) {
		n.FQDN = strings.ToLower(name) + "." + t.zone(network)
	}
	return n
}

// union returns the sorted members of either list.
func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	sort.Strings(out)
	return slices.Compact(out)
}

// common returns the sorted members of both lists.
func common(a, b []string) []string {
	var out []string
	for _, s := range a {
		if slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// meta returns the metadata of an object of the project, and of u when it is
// not nil.
func (t *translator) meta(name string, u *unit) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: t.namespace, Labels: t.labels(u)}
	if u != nil && u.kube != u.name {
		m.Annotations = map[string]string{annotationName: u.name}
	}
	return m
}
