package translate

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
)

// podOwner returns the unit in whose pod u asks to run, nil for its own.
func (t *translator) podOwner(u *unit, awaited bool) *unit {
	if t.ends(u, awaited) {
		return nil // a container of another pod would be started again for ever
	}
	for _, ref := range []string{u.svc.NetworkMode, u.svc.Ipc, u.svc.Pid} {
		if name, ok := serviceRef(ref); ok && hasPod(t.services[name]) && name != u.name {
			return t.services[name]
		}
	}
	if owner := t.services[u.hints.SidecarOf]; hasPod(owner) && owner != u {
		return owner
	}
	return nil
}

// ends reports whether the project says that the program of u ends.
func (t *translator) ends(u *unit, awaited bool) bool {
	if u.job != nil || hintedKinds[u.hints.Kind].oneShot() {
		return true
	}
	d := u.svc.Deploy
	return awaited || d != nil && (d.Mode == "replicated-job" || d.Mode == "global-job")
}

// hasPod reports whether something of u runs in the cluster.
func hasPod(u *unit) bool {
	return u != nil && u.svc.Provider == nil && u.hints.ServiceType != "ExternalName"
}

// together reports whether the service of that name runs in the pod of u.
func (t *translator) together(u *unit, name string) bool {
	other := t.services[name]
	return other != nil && other.host == u.host
}

// whyApart says why u does not run in the pod of the service it refers to.
func (t *translator) whyApart(u *unit, name string) (why, do string) {
	other := t.services[name]
	switch {
	case other == nil:
		return fmt.Sprintf("there is no service %q", name), ""
	case !hasPod(other):
		return "nothing of " + name + " runs in the cluster", ""
	case u.host == u && u.kind.oneShot():
		return fmt.Sprintf("a %s of its own: the program ends, and in the pod of %s it would be started again for ever", u.kind, name), "reach " + name + " by its name"
	}
	return "not shared: " + name + " runs in another pod", ""
}

// podTexts returns labels or annotations of all units of a pod together: those
// of the unit that owns the pod win, then those of the others by name.
func podTexts(units []*unit, of func(*unit) map[string]string) map[string]string {
	if len(units) == 1 {
		return of(units[0])
	}
	out := map[string]string{}
	for _, u := range slices.Backward(units) {
		for name, value := range of(u) {
			out[name] = value
		}
	}
	return out
}

func labelsOf(u *unit) map[string]string      { return u.svc.Labels }
func annotationsOf(u *unit) map[string]string { return u.svc.Annotations }
func deployLabelsOf(u *unit) map[string]string {
	if u.svc.Deploy == nil {
		return nil
	}
	return u.svc.Deploy.Labels
}

// reportTexts says which labels or annotations of the units of a pod are lost
// or kept in another form: a pod has one value of each.
func (t *translator) reportTexts(units []*unit, attribute string, of func(*unit) map[string]string) {
	all := podTexts(units, of)
	kept, left := fitting(all)
	for _, u := range units {
		own, path := of(u), u.path+attribute
		for _, name := range left {
			if _, ok := own[name]; ok {
				t.report.dropped(path, fmt.Sprintf("%q is left out: annotations have room for %d bytes of labels", name, maxLabels), "")
			}
		}
		t.reportOdd(path, own, kept)
		if len(units) == 1 {
			return
		}
		for _, name := range sortedKeys(own) {
			if value := all[name]; value != own[name] {
				t.report.dropped(path, fmt.Sprintf("%q is %q: the pod of %s has one value for all its containers", name, value, u.host.name), "")
			}
		}
	}
}

// hostAttribute is an attribute of which a pod has one for all its containers.
type hostAttribute struct {
	path string
	of   func(*types.ServiceConfig) any
}

// hostAttributes are those that the owner of the pod decides about.
func hostAttributes() []hostAttribute {
	deploy := func(of func(*types.DeployConfig) any) func(*types.ServiceConfig) any {
		return func(s *types.ServiceConfig) any {
			if s.Deploy == nil {
				return of(&types.DeployConfig{})
			}
			return of(s.Deploy)
		}
	}
	return []hostAttribute{
		{".dns", func(s *types.ServiceConfig) any { return s.DNS }},
		{".dns_opt", func(s *types.ServiceConfig) any { return s.DNSOpts }},
		{".dns_search", func(s *types.ServiceConfig) any { return s.DNSSearch }},
		{".hostname", func(s *types.ServiceConfig) any { return s.Hostname }},
		{".domainname", func(s *types.ServiceConfig) any { return s.DomainName }},
		{".platform", func(s *types.ServiceConfig) any { return s.Platform }},
		{".runtime", func(s *types.ServiceConfig) any { return s.Runtime }},
		{".logging", func(s *types.ServiceConfig) any { return s.Logging }},
		{".deploy.mode", deploy(func(d *types.DeployConfig) any { return d.Mode })},
		{".deploy.placement.constraints", deploy(func(d *types.DeployConfig) any { return d.Placement.Constraints })},
		{".deploy.placement.preferences", deploy(func(d *types.DeployConfig) any { return d.Placement.Preferences })},
		{".deploy.placement.max_replicas_per_node", deploy(func(d *types.DeployConfig) any { return d.Placement.MaxReplicas })},
		{".deploy.update_config", deploy(func(d *types.DeployConfig) any { return d.UpdateConfig })},
		{".deploy.rollback_config", deploy(func(d *types.DeployConfig) any { return d.RollbackConfig })},
	}
}

// reportGuest says what u cannot have for itself in another unit's pod.
func (t *translator) reportGuest(u *unit) {
	if ref := u.hints.SidecarOf; ref != "" && !t.together(u, ref) {
		why, do := t.whyApart(u, ref)
		t.report.dropped(u.path+"."+extension+".sidecarOf", why, do)
	}
	if u.host == u || u.host.kind == none {
		return
	}
	for _, a := range hostAttributes() {
		own := a.of(u.svc)
		if v := reflect.ValueOf(own); unset(v) || v.Kind() == reflect.Slice && v.Len() == 0 || reflect.DeepEqual(own, a.of(u.host.svc)) {
			continue
		}
		t.report.dropped(u.path+a.path, "the pod of "+u.host.name+" decides, in which it runs", "set it for "+u.host.name)
	}
	for _, name := range sortedKeys(u.svc.Networks) {
		if !slices.Contains(u.networks, name) {
			t.report.dropped(u.path+".networks."+name, "the pod of "+u.host.name+", in which it runs, is not on that network", "set it for "+u.host.name)
		}
	}
}

// reportGrace says when a container is given more time to end than it asks
// for: the pod has one grace period.
func (t *translator) reportGrace(units []*unit) {
	longest := t.gracePeriod(units)
	for _, u := range units {
		if u.svc.StopGracePeriod != nil && t.gracePeriod([]*unit{u}) != longest {
			t.report.approximated(u.path+".stop_grace_period", fmt.Sprintf("%d s, the longest of the containers of the pod", longest), "")
		}
	}
}
