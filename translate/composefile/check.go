package composefile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// checkConsistency looks for contradictions between the attributes of a
// project. These are the checks of compose-go, which we cannot call: it walks
// every path of the dependency graph, and those may be exponentially many.
func (r *reader) checkConsistency(p *types.Project) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		c := serviceCheck{reader: r, project: p, service: &s, at: "services." + name}
		c.run()
	}
	r.checkJobs(p)
	r.checkSecrets(p)
	r.checkContainerNames(p)
	r.checkCycles(p)
}

// failOn reports an error about an attribute.
func (r *reader) failOn(attribute, cure, format string, args ...any) {
	r.fail(r.place(attribute), attribute, fmt.Errorf(format, args...), cure)
}

// enableServices enables the services that the user named.
func (r *reader) enableServices(p *types.Project) {
	known := slices.Sorted(maps.Keys(p.AllServices()))
	for _, name := range r.opts.Services {
		if s, disabled := p.DisabledServices[name]; disabled {
			p.Profiles = append(slices.Clone(p.Profiles), s.Profiles...)
			continue
		}
		if _, enabled := p.Services[name]; !enabled {
			r.fail(translate.Position{}, fmt.Sprintf("no service %q in the project", name), nil, translate.Suggest(name, known))
		}
	}
	for name, s := range p.DisabledServices {
		if s.HasProfile(p.Profiles) {
			p.Services[name] = s
			delete(p.DisabledServices, name)
		}
	}
}

// checkJobs: names are shared with services, and dependencies exist.
func (r *reader) checkJobs(p *types.Project) {
	all := p.AllJobs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, ok := p.AllServices()[name]; ok {
			r.failOn("jobs."+name, "rename one of them", "there is a service of the same name")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Jobs)) {
		job := p.Jobs[name]
		r.checkContainer("jobs."+name, &job.ContainerSpec)
		for _, dependency := range slices.Sorted(maps.Keys(p.Jobs[name].DependsOn)) {
			if _, job := p.Jobs[dependency]; job {
				continue
			}
			r.checkDependency(p, "jobs."+name, dependency, p.Jobs[name].DependsOn[dependency].Required)
		}
	}
}

// checkDependency: a service that another needs is there and enabled.
func (r *reader) checkDependency(p *types.Project, from, to string, required bool) {
	if _, ok := p.Services[to]; ok {
		return
	}
	at := r.dependencyPath(from, to)
	if disabled, ok := p.DisabledServices[to]; ok {
		if required {
			r.failOn(at, "activate one of its profiles: berth --profile "+disabled.Profiles[0]+" ...",
				"service %q is left out, because none of its profiles (%s) is active", to, strings.Join(disabled.Profiles, ", "))
		}
		return
	}
	if _, job := p.Jobs[to]; job {
		r.failOn(at, "make it a service, or make this a job", "%q is a job, and a service can only depend on services", to)
		return
	}
	r.failOn(at, translate.Suggest(to, slices.Sorted(maps.Keys(p.AllServices()))), "there is no service %q", to)
}

// dependencyPath finds the attribute that makes from depend on to.
func (r *reader) dependencyPath(from, to string) string {
	at := from + ".depends_on." + to
	if _, ok := r.places[at]; ok {
		return at
	}
	for _, attribute := range []string{"links", "network_mode", "ipc", "pid", "uts", "cgroup", "volumes_from"} {
		if _, ok := r.places[from+"."+attribute]; ok {
			return from + "." + attribute
		}
	}
	return from
}

// checkSecrets: every secret has a content.
func (r *reader) checkSecrets(p *types.Project) {
	for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
		s := p.Secrets[name]
		if !bool(s.External) && s.File == "" && s.Environment == "" {
			r.failOn("secrets."+name, "give it `file`, `environment` or `external: true`", "it has no content that berth can read")
		}
	}
}

// checkContainerNames: two services cannot have one container name.
func (r *reader) checkContainerNames(p *types.Project) {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		container := p.Services[name].ContainerName
		if container == "" {
			continue
		}
		if other, taken := owner[container]; taken {
			r.failOn("services."+name+".container_name", "give each its own", "service %q has the name %q already", other, container)
		}
		owner[container] = name
	}
}

// checkCycles reports every circle of dependencies, once. Each service and
// each dependency is looked at once.
func (r *reader) checkCycles(p *types.Project) {
	dependencies := map[string][]string{}
	for name, s := range p.Services {
		dependencies[name] = slices.Sorted(maps.Keys(s.DependsOn))
	}
	for name, j := range p.Jobs {
		dependencies[name] = slices.Sorted(maps.Keys(j.DependsOn))
	}
	for _, circle := range cycles(dependencies) {
		section := "services."
		if _, job := p.Jobs[circle[0]]; job {
			section = "jobs."
		}
		r.failOn(r.dependencyPath(section+circle[0], circle[1]), "remove one of these dependencies",
			"the dependencies go in a circle: %s", strings.Join(circle, " -> "))
	}
}

// cycles returns circles of a graph, at least one of every group of nodes that
// reach each other, as a -> b -> a. It does not recurse: chains may be long.
func cycles(edges map[string][]string) [][]string {
	const (
		unseen = iota
		open
		done
	)
	state := map[string]int{}
	next := map[string]int{} // of an open node: the edge to follow next
	var found [][]string
	for _, root := range slices.Sorted(maps.Keys(edges)) {
		if state[root] != unseen {
			continue
		}
		trail := []string{root}
		state[root] = open
		for len(trail) > 0 {
			at := trail[len(trail)-1]
			if next[at] == len(edges[at]) {
				state[at] = done
				trail = trail[:len(trail)-1]
				continue
			}
			to := edges[at][next[at]]
			next[at]++
			if _, known := edges[to]; !known {
				continue
			}
			switch state[to] {
			case unseen:
				state[to] = open
				trail = append(trail, to)
			case open:
				circle := slices.Clone(trail[slices.Index(trail, to):])
				found = append(found, append(circle, to))
			}
		}
	}
	return found
}
