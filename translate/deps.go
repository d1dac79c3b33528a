package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dependencies returns everything u waits for, sorted: depends_on, links,
// volumes_from, and the owner of the pod or namespace it shares.
func (t *translator) dependencies(u *unit) []Dependency {
	out := make([]Dependency, 0, len(u.svc.DependsOn)+len(u.svc.Links))
	for name, d := range u.svc.DependsOn {
		condition := d.Condition
		if condition == "" {
			condition = types.ServiceConditionStarted
		}
		out = append(out, Dependency{Service: name, Condition: condition, Required: d.Required, Restart: d.Restart})
	}
	imply := func(name string, restart bool) {
		if name != "" && name != u.name {
			out = append(out, Dependency{Service: name, Condition: types.ServiceConditionStarted, Required: true, Restart: restart})
		}
	}
	for _, link := range u.svc.Links {
		name, _, _ := strings.Cut(link, ":")
		imply(name, true)
	}
	for _, from := range u.svc.VolumesFrom {
		imply(volumesFromService(from), false)
	}
	for _, ref := range []string{u.svc.NetworkMode, u.svc.Ipc, u.svc.Pid} {
		if name, ok := serviceRef(ref); ok {
			imply(name, t.together(u, name))
		}
	}
	imply(u.hints.SidecarOf, true)
	slices.SortStableFunc(out, func(a, b Dependency) int { return strings.Compare(a.Service, b.Service) })
	out = slices.CompactFunc(out, func(a, b Dependency) bool { return a.Service == b.Service }) // the first of them is what counts
	out = slices.DeleteFunc(out, func(d Dependency) bool {
		other := t.services[d.Service]
		return other != nil && other.host.kind == none || other == nil && !d.Required // nothing runs that could be waited for
	})
	return nilIfEmpty(out)
}

// annotateNeeds notes on a workload what its pods depend on, as
// service:condition, with :restart and :optional where that holds: the verbs
// that start and stop services do so in order, without a compose file too.
func annotateNeeds(meta *metav1.ObjectMeta, deps []Dependency) {
	if len(deps) == 0 {
		return
	}
	texts := make([]string, len(deps))
	for i, d := range deps {
		texts[i] = LabelValue(d.Service) + ":" + d.Condition
		if d.Restart {
			texts[i] += ":restart"
		}
		if !d.Required {
			texts[i] += ":optional"
		}
	}
	if meta.Annotations == nil {
		meta.Annotations = map[string]string{}
	}
	meta.Annotations[annotationNeeds] = strings.Join(texts, ",")
}

// reportOrder says what becomes of dependencies that are not there, or not yet.
func (t *translator) reportOrder(u *unit) {
	for _, name := range sortedKeys(u.svc.DependsOn) {
		if !u.svc.DependsOn[name].Required {
			t.report.exact(u.path+".depends_on."+name+".required", "a dependency that is missing or fails is no error")
		}
	}
	if !u.kind.oneShot() || !t.retries(u) {
		return
	}
	for _, name := range sortedKeys(u.svc.DependsOn) {
		t.report.needsCluster(u.path+".depends_on."+name,
			fmt.Sprintf("a manifest has no order: the %s starts at once and is tried again, %d times at most, until its dependency answers", u.kind, jobRetries), "berth up --context")
	}
}

// rollWith adds to each pod template a hash of the templates of the services
// it restarts with (depends_on.X.restart), so that it rolls when they do.
// Hashes go from dependency to dependent; services in a circle are left out.
func (t *translator) rollWith(pods map[*unit]*pod, deps map[*unit][]Dependency) {
	hashes, above := map[*unit]string{}, map[*unit]bool{}
	var text bytes.Buffer
	var visit func(u *unit) string
	visit = func(u *unit) string {
		if h, done := hashes[u]; done || above[u] {
			return h
		}
		above[u] = true
		defer delete(above, u)
		p := pods[u]
		if p == nil {
			return ""
		}
		var parts []string
		for _, d := range deps[u] {
			other := t.services[d.Service]
			if !d.Restart || other == nil || other.host == u {
				continue
			}
			if h := visit(other.host); h != "" {
				parts = append(parts, d.Service, h)
			}
		}
		if len(parts) > 0 {
			if p.template.Annotations == nil {
				p.template.Annotations = map[string]string{}
			}
			p.template.Annotations[annotationDependsOn] = hash(12, parts...)
		}
		hashes[u] = templateHash(p, &text)
		return hashes[u]
	}
	wanted := t.restartTargets(deps)
	for _, u := range t.units {
		if pods[u] != nil && wanted[u] {
			visit(u)
		}
	}
}

// restartTargets are the units that take part in restart: true, on either end.
func (t *translator) restartTargets(deps map[*unit][]Dependency) map[*unit]bool {
	out := map[*unit]bool{}
	for u, list := range deps {
		for _, d := range list {
			if d.Restart {
				out[u] = true
			}
		}
	}
	return out
}

// templateHash is a hash of everything that makes pods roll. The buffer is for
// the text of it.
func templateHash(p *pod, text *bytes.Buffer) string {
	text.Reset()
	if err := json.NewEncoder(text).Encode(&p.template); err != nil {
		return ""
	}
	return hash(12, bytes.TrimSuffix(text.Bytes(), []byte("\n")))
}

// hostDependencies gives the unit that owns a pod what its other containers
// wait for too, for they start together.
func (t *translator) hostDependencies(deps map[*unit][]Dependency) {
	for _, u := range t.units {
		if len(u.carried) == 0 {
			continue
		}
		for _, c := range u.carried {
			for _, d := range deps[c] {
				other := t.services[d.Service]
				if d.Service == u.name || other != nil && other.host == u {
					continue
				}
				known := false
				for _, own := range deps[u] {
					known = known || own.Service == d.Service
				}
				if !known {
					deps[u] = append(deps[u], d)
				}
			}
		}
		sort.Slice(deps[u], func(i, j int) bool { return deps[u][i].Service < deps[u][j].Service })
	}
}
