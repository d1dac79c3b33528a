package devloop

import (
	"fmt"
	"slices"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// servicesInOrder lists the services that have a workload, what others depend
// on first. The loader has refused cycles; one that a shared pod makes is cut
// where it closes.
func (p *planner) servicesInOrder() []translate.Service {
	var order []translate.Service
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		s, ok := p.want.service(name)
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		for _, d := range p.dependencies(s) {
			visit(d.Service)
		}
		if s.Kind != "" {
			order = append(order, s)
		}
	}
	first, last := p.startOrder()
	for _, name := range slices.Concat(first, last) {
		visit(name)
	}
	return order
}

// startOrder splits the services into those that start as soon as they can and
// those that had better wait for them: a service that nothing restarts, that
// names no dependency and serves nobody is likely to be a client of the others
// that tries once (Docker starts in no particular order but is fast enough).
func (p *planner) startOrder() (first, last []string) {
	depended := map[string]bool{}
	for _, s := range p.want.Result.Services {
		for _, d := range s.DependsOn {
			depended[d.Service] = true
		}
	}
	for _, s := range p.want.Result.Services {
		restart := p.want.Input.Project.Services[s.Name].Restart
		client := (restart == "" || restart == "no") && len(s.DependsOn) == 0 && len(s.Ports) == 0 && !depended[s.Name]
		if client {
			last = append(last, s.Name)
		} else {
			first = append(first, s.Name)
		}
	}
	return first, last
}

// dependencies lists what the pods of s depend on, other pods only.
func (p *planner) dependencies(s translate.Service) []translate.Dependency {
	if p.want.Options.NoDeps {
		return nil
	}
	var deps []translate.Dependency
	for _, m := range p.want.podMembers(s.Name) {
		for _, d := range m.DependsOn {
			d.Service = p.want.carrier(d.Service)
			if d.Service != s.Name {
				deps = append(deps, d)
			}
		}
	}
	return deps
}

// service plans the Apply of s after its images and dependencies, and the
// waits for those.
func (p *planner) service(s translate.Service) {
	cause := p.serviceCause(s)
	restart := p.restartCause(s)
	if cause == "" && restart == "" {
		return
	}
	var last int
	if cause != "" {
		last = p.apply(s, cause)
	}
	if restart != "" {
		p.restarted[s.Name] = true
		last = p.add(Action{Verb: Restart, Service: s.Name, Cause: restart, After: append(p.restarters(s), last)})
	}
	p.applied[s.Name] = last
}

// finalWaits plans what up waits for in the end: services that were applied or
// whose programs restart.
func (p *planner) finalWaits(services []translate.Service) {
	for _, s := range services {
		reruns := slices.ContainsFunc(p.inside[s.Name], func(id int) bool { return p.plan.Actions[id-1].Verb == Rerun })
		switch {
		case p.applied[s.Name] == 0 && !reruns || p.want.Options.NoWait:
		case p.want.Options.NoStart:
			p.hold("service:"+s.Name, "created: --no-start; berth start starts it")
		case scaledToNothing(s):
			p.hold("service:"+s.Name, "scaled to 0: nothing to wait for")
		default:
			p.wait(s.Name, p.finalCondition(s), "until it serves")
		}
	}
}

// scaledToNothing reports whether s has no pods by the user's will.
func scaledToNothing(s translate.Service) bool {
	return s.Replicas == 0 && s.Kind != "DaemonSet" && s.Kind != "Job"
}

// apply plans the Apply of s and returns its number.
func (p *planner) apply(s translate.Service, cause string) int {
	a := Action{Verb: Apply, Service: s.Name, Object: fmt.Sprintf("object:%s/%s", s.Kind, s.Workload), Cause: cause, After: []int{p.shared}}
	if n := len(s.Objects); n > 1 {
		a.Object += fmt.Sprintf(" (+%d)", n-1)
	}
	for _, img := range p.want.podImages(s.Name) {
		a.After = append(a.After, p.ready[img.Ref])
	}
	if p.want.Options.NoStart {
		return p.add(a)
	}
	for _, d := range p.dependencies(s) {
		if p.applied[d.Service] == 0 {
			continue // not in this plan: running, left out or a cycle cut
		}
		id := p.wait(d.Service, model.WaitCondition(d.Condition), "awaited by "+s.Name)
		if d.Required {
			a.After = append(a.After, id)
		} else {
			a.AfterAny = append(a.AfterAny, id)
		}
	}
	if p.dirty.All != "" && p.isClient(s) {
		for _, name := range sortedKeys(p.applied) {
			if server, _ := p.want.service(name); len(server.Ports) > 0 {
				a.AfterAny = append(a.AfterAny, p.wait(name, model.WaitStarted, "publishes ports"))
			}
		}
	}
	return p.add(a)
}

func (p *planner) isClient(s translate.Service) bool {
	_, last := p.startOrder()
	return slices.Contains(last, s.Name)
}

// wait returns the Wait for service to reach condition, planning it if need be.
func (p *planner) wait(service string, condition model.WaitCondition, cause string) int {
	key := waitKey{service, condition}
	if id, planned := p.waits[key]; planned {
		return id
	}
	after := []int{p.applied[service]}
	if condition != model.WaitStarted {
		after = append(after, p.waits[waitKey{service, model.WaitStarted}]) // one after the other: users see one task
	}
	var inside []int
	if condition != model.WaitStarted {
		inside = p.inside[service]
	}
	p.waits[key] = p.add(Action{Verb: Wait, Service: service, Condition: condition, Cause: cause, After: after, AfterAny: inside})
	return p.waits[key]
}

// sync plans what happens inside the containers of the service called name,
// which runs in the pods of s. When those pods are replaced by this plan it
// comes after the new ones have started, and if they never do, it still happens
// to the old ones: a failed rebuild must not lose what was to be synced. When
// they stay, nobody waits for one that does not come to run.
func (p *planner) sync(s translate.Service, name string) {
	work, dirty := p.dirty.Sync[name]
	fresh := p.applied[s.Name] != 0 && len(p.have.Ledger[name]) > 0
	if !p.want.Select[s.Name] || !dirty && !fresh || scaledToNothing(s) {
		return
	}
	if work.Cause == "" {
		work.Cause = "synced since the image was built"
	}
	var settled, last []int
	if p.applied[s.Name] != 0 {
		settled = []int{p.applied[s.Name]}
		if p.replaces(s) {
			settled = append(settled, p.wait(s.Name, model.WaitStarted, "to sync into it"))
		}
	}
	then := func(a Action) {
		a.Service, a.Cause, a.After, a.AfterAny = name, work.Cause, last, settled
		last = []int{p.add(a)}
		p.inside[s.Name] = append(p.inside[s.Name], last...)
	}
	if files := p.filesToSync(name, work, fresh); files > 0 {
		then(Action{Verb: Sync, Files: files})
	}
	if work.Restart || (fresh || work.New) && p.restartsOnSync(name) {
		then(Action{Verb: Rerun})
	}
	if len(work.Exec) > 0 {
		then(Action{Verb: Exec})
	}
}

// replaces reports whether the plan may give s other pods than it has. An Apply
// for no other reason than that the last was not seen to its end does not.
func (p *planner) replaces(s translate.Service) bool {
	if _, there := p.have.Services[s.Name]; !there || p.dirty.All != "" || p.restarted[s.Name] || p.follows(s) != "" {
		return true
	}
	return slices.ContainsFunc(p.want.podImages(s.Name), func(img translate.Image) bool { return p.ready[img.Ref] != 0 })
}

// filesToSync counts what the plan names: containers that are new get all.
func (p *planner) filesToSync(name string, work SyncWork, fresh bool) int {
	if fresh || work.New {
		return len(p.have.Ledger[name])
	}
	return len(work.Files)
}

// restartsOnSync reports whether files that are synced into the service take
// effect only when its program restarts.
func (p *planner) restartsOnSync(service string) bool {
	develop := p.want.Input.Project.Services[service].Develop
	if develop == nil || p.have.Unsupervised[service] {
		return false
	}
	for _, rule := range develop.Watch {
		if rule.Action == "sync+restart" {
			return true
		}
	}
	return false
}

// finalCondition is what up waits for before it says that s is there. A Job
// that nobody awaits may run for as long as it likes.
func (p *planner) finalCondition(s translate.Service) model.WaitCondition {
	switch {
	case s.Kind != "Job" && p.want.Follow && p.dirty.Services[s.Name] != causeCrashes && p.waits[waitKey{s.Name, model.WaitHealthy}] == 0:
		return model.WaitServing // what crashes later is seen then
	case s.Kind != "Job":
		return model.WaitHealthy
	}
	for _, other := range p.want.Result.Services {
		for _, d := range other.DependsOn {
			if d.Service == s.Name && d.Condition == string(model.WaitCompleted) {
				return model.WaitCompleted
			}
		}
	}
	return model.WaitStarted
}

// restartCause returns why the pods of s are to be replaced though its
// definition may be the same, "" when they are not.
func (p *planner) restartCause(s translate.Service) string {
	if !p.want.Select[s.Name] {
		return ""
	}
	if cause := p.dirty.Restart[s.Name]; cause != "" {
		return cause
	}
	_, there := p.have.Services[s.Name]
	if there && p.dirty.All != "" && p.want.Options.ForceRecreate && !p.want.Options.NoStart {
		return "--force-recreate"
	}
	if named := p.want.Options.Services; there && p.dirty.All != "" && p.want.Options.RecreateDeps && len(named) > 0 && !slices.Contains(named, s.Name) {
		return "--always-recreate-deps"
	}
	if !there || p.dirty.All != "" {
		return "" // in a full plan every service that is there is recreated, or none
	}
	for _, d := range p.dependencies(s) {
		if d.Restart && p.restarted[d.Service] {
			return fmt.Sprintf("depends on %s with restart: true", d.Service)
		}
	}
	return ""
}

// follows returns why s is applied though nothing of its own changed: a
// service it restarts with is applied, and if that gets new pods, so does s,
// because the translation of s carries a mark of the other.
func (p *planner) follows(s translate.Service) string {
	if _, there := p.have.Services[s.Name]; !there {
		return ""
	}
	for _, d := range p.dependencies(s) {
		if d.Restart && p.applied[d.Service] != 0 && !p.restarted[d.Service] {
			return fmt.Sprintf("depends on %s with restart: true", d.Service)
		}
	}
	return ""
}

// restarters lists the waits for the dependencies of s that make it restart.
func (p *planner) restarters(s translate.Service) []int {
	var ids []int
	for _, d := range p.dependencies(s) {
		if d.Restart && p.applied[d.Service] != 0 {
			ids = append(ids, p.wait(d.Service, model.WaitCondition(d.Condition), "awaited by "+s.Name))
		}
	}
	return ids
}
