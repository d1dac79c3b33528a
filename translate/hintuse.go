package translate

import "fmt"

// hintsSet are those of the hints about a workload and its Ingress that are
// set, by their keys.
func (h serviceHints) hintsSet(keys ...string) []string {
	set := map[string]bool{
		"kind": h.Kind != "", "schedule": h.Schedule != "", "autoscale": h.Autoscale != nil, "revisionHistoryLimit": h.RevisionHistoryLimit != nil,
		"sidecarOf": h.SidecarOf != "", "host": len(h.Host) > 0, "path": h.Path != "", "port": h.Port != nil, "tlsSecret": h.TLSSecret != "",
	}
	var out []string
	for _, key := range keys {
		if set[key] {
			out = append(out, key)
		}
	}
	return out
}

// ingressHints are the keys that ask for a route.
var ingressHints = []string{"host", "path", "port", "tlsSecret"}

// checkUse reports hints of u that could have no effect, whatever the target.
func (d *hintDecoder) checkUse(u *unit, services map[string]*unit) {
	h, path := u.hints, u.path+"."+extension
	refuse := func(why, cure string, keys ...string) {
		for _, key := range h.hintsSet(keys...) {
			d.fail(path+"."+key, why, cure)
		}
	}
	owner := services[h.SidecarOf]
	switch {
	case u.job != nil:
		refuse("a job of the compose file is a CronJob, with the schedule of its triggers", "remove it", "kind", "schedule", "autoscale", "revisionHistoryLimit", "sidecarOf")
		return
	case owner == nil:
	case owner == u:
		d.fail(path+".sidecarOf", "the service cannot run in a pod of itself", "name another service")
		return
	case !hasPod(owner):
		d.fail(path+".sidecarOf", fmt.Sprintf("nothing of %q runs in the cluster", h.SidecarOf), "name a service with an image")
		return
	default:
		refuse("a sidecar has no workload of its own", "set it for "+h.SidecarOf, "kind", "schedule", "autoscale", "revisionHistoryLimit")
		return
	}
	switch h.Kind {
	case "daemonset":
		refuse("a daemonset has one pod on every node", "remove it, or kind", "autoscale")
	case "job", "cronjob":
		refuse("a "+h.Kind+" ends, and has neither more pods nor older versions", "remove it, or kind", "autoscale", "revisionHistoryLimit")
	}
	if h.Kind == "cronjob" {
		refuse("a cronjob serves no requests", "remove it, or kind", ingressHints...)
	}
}

// reportHints says which hints of u have no effect, for what it has become.
func (t *translator) reportHints(u *unit) {
	h, path := u.hints, u.path+"."+extension
	lost := func(why, do string, keys ...string) {
		for _, key := range h.hintsSet(keys...) {
			t.report.dropped(path+"."+key, why, do)
		}
	}
	switch {
	case u.host != u && u.host.kind != none:
		lost("the pod of "+u.host.name+" decides, in which it runs", "set it for "+u.host.name, "kind", "autoscale", "revisionHistoryLimit")
	case u.kind == none:
		lost("nothing of the service runs in the cluster", "", append([]string{"kind", "schedule", "autoscale", "revisionHistoryLimit"}, ingressHints...)...)
		return
	case u.kind.oneShot():
		lost(fmt.Sprintf("a %s ends, and has neither more pods nor older versions", u.kind), "", "autoscale", "revisionHistoryLimit")
	case u.kind == daemonSet:
		lost("a DaemonSet has one pod on every node", "", "autoscale")
	}
	switch {
	case t.target.Ingress == "none":
		lost("no Ingress: the cluster has no controller", "", ingressHints...)
	case u.host.kind == cronJob:
		lost("no Ingress: a CronJob serves no requests", "", ingressHints...)
	case u.svc.NetworkMode == "none":
		lost("no Ingress: the service is on no network", "remove network_mode", ingressHints...)
	}
	if kind := h.ServiceType; (kind == "NodePort" || kind == "LoadBalancer") && len(u.served) == 0 {
		t.report.dropped(path+".serviceType", "no Service of type "+kind+": no port of the service is known", "declare its ports")
	}
	if h.Headless != nil && !*h.Headless && u.ports.headless {
		why := "no port of the service is known"
		if len(u.ports.known) > 0 {
			why = fmt.Sprintf("one address cannot have %d ports", len(u.ports.known))
		}
		t.report.dropped(path+".headless", "the service's name leads to its pods: "+why, fmt.Sprintf("declare its ports, at most %d", maxServicePorts))
	}
}
