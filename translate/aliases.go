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
		if n := u.svc.Networks[network]; n != nil && slices.Contains(u.networks, network) { // not in a pod without it
			for i, name := range n.Aliases {
				add(name, itemPath(u.path+".networks."+network, "aliases", i), network)
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

// aliasGroup is an alias on those networks where the same units have it.
type aliasGroup struct {
	name     string
	kube     string // the kubeService made for it, or that of its only unit; "" when it leads nowhere
	made     bool   // a kubeService of its own is needed
	networks []string
	users    []*unit
	paths    []string // the attributes that give it to the users
	owner    *unit    // the service that is called so, where it is a member
}

// aliasUse is one unit that has an alias on a network.
type aliasUse struct {
	unit *unit
	path string
}

// aliasGroups gathers the aliases of all units by name and network, and
// decides what each leads to: in Docker the same alias is another's on another
// network.
func (t *translator) aliasGroups() []aliasGroup {
	byName := map[string]map[string][]aliasUse{}
	add := func(name, path string, u *unit, networks []string) {
		if byName[name] == nil {
			byName[name] = map[string][]aliasUse{}
		}
		for _, n := range networks {
			if !slices.ContainsFunc(byName[name][n], func(x aliasUse) bool { return x.unit == u }) {
				byName[name][n] = append(byName[name][n], aliasUse{u, path})
			}
		}
	}
	for _, u := range t.units {
		for _, a := range u.aliases {
			add(a.name, a.path, u, a.networks)
		}
	}
	t.resolveLinks(byName, add)
	var groups []aliasGroup
	for _, name := range sortedKeys(byName) {
		same := t.sameUsers(name, byName[name])
		t.placeAlias(same)
		groups = append(groups, same...)
	}
	return groups
}

// sameUsers puts the networks together on which the same units have a name.
func (t *translator) sameUsers(name string, byNetwork map[string][]aliasUse) []aliasGroup {
	var out []aliasGroup
	for _, network := range sortedKeys(byNetwork) {
		g := aliasGroup{name: name, networks: []string{network}}
		for _, use := range byNetwork[network] {
			g.users, g.paths = append(g.users, use.unit), append(g.paths, use.path)
		}
		if owner := t.services[name]; owner != nil && slices.Contains(owner.networks, network) {
			g.owner = owner
		}
		at := slices.IndexFunc(out, func(x aliasGroup) bool { return x.owner == g.owner && slices.Equal(x.users, g.users) })
		if at < 0 {
			out = append(out, g)
			continue
		}
		out[at].networks = append(out[at].networks, network)
	}
	return out
}

// placeAlias decides which kubeService answers to an alias, on each group of
// networks. Only the zones of berth's DNS can tell networks apart: elsewhere a
// name is the same for all.
func (t *translator) placeAlias(groups []aliasGroup) {
	var first *aliasGroup // the one that the name itself is left for
	for i := range groups {
		g := &groups[i]
		owner := t.services[g.name]
		switch {
		case g.owner != nil:
			g.kube = g.owner.kube
			t.report.approximated(g.paths[0], fmt.Sprintf("%q leads to the service of that name only", g.name), "rename the alias")
		case owner == nil && first == nil:
			first = g
			t.nameAlias(g)
		case t.target.DNSZone == "":
			is := "the service of that name"
			if owner == nil {
				is = unitNames(first.users)
			}
			for _, path := range g.paths {
				t.report.block(path, NeedsCluster, fmt.Sprintf("%q leads to %s, not to %s: one name cannot mean different services on different networks", g.name, is, unitNames(g.users)),
					"rename the alias, or use a cluster made by berth")
			}
		case len(g.users) == 1:
			g.kube = g.users[0].kube
		default:
			g.made, g.kube = true, t.kubeNames.take(g.name+"-"+g.networks[0])
		}
	}
}

// nameAlias gives an alias a kubeService of its name, where there can be one.
func (t *translator) nameAlias(g *aliasGroup) {
	g.kube = g.users[0].kube
	fits := isLabel(g.name) && len(g.name) <= maxLabel && !t.kubeNames.taken[g.name]
	if fits || len(g.users) > 1 {
		g.made, g.kube = true, t.kubeNames.take(g.name)
	}
	if !fits {
		t.reportName(g.paths[0], g.name, g.kube)
	}
}

// unitNames lists units for the report.
func unitNames(units []*unit) string {
	var names []string
	for _, u := range units {
		names = append(names, u.name)
	}
	return strings.Join(names, " and ")
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
			s.Spec.Selector = map[string]string{labelProject: LabelValue(t.project.Name), labelAlias + g.kube: "true"}
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
			labels[u.host][labelAlias+g.kube] = "true"
		}
	}
	return labels
}

// names lists every name that Docker would resolve, by network.
func (t *translator) names(groups []aliasGroup) []Name {
	out := make([]Name, 0, 2*len(t.units)+len(t.links))
	for _, u := range t.units {
		for _, network := range u.networks {
			if t.hasNameService(u) && u.svc.Networks[network].ServiceNameAliasEnabled() {
				out = append(out, t.name(network, u.name, u.kube))
			}
		}
	}
	for _, g := range groups {
		for _, network := range g.networks {
			if g.kube != "" {
				out = append(out, t.name(network, g.name, g.kube))
			}
		}
	}
	for _, l := range t.links {
		n := Name{Only: l.host.name, Name: l.name, KubeService: l.target.kube}
		if isResolvable(l.name) {
			n.FQDN = strings.ToLower(l.name) + "." + t.linkZone(l.host)
		}
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Network != b.Network {
			return a.Network < b.Network
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		if a.Only != b.Only {
			return a.Only < b.Only
		}
		return a.KubeService < b.KubeService
	})
	return nilIfEmpty(slices.Compact(out))
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
