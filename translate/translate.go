package translate

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Translate turns a project into Kubernetes objects for a target, with a
// report of what became of every attribute that the project sets. The error,
// if any, is of type Errors: x-berth keys and values that cannot be.
//
// An entry of the report with Blocks set says that the objects would not run
// what the user has; they are valid all the same.
func Translate(in Input, target Target) (Result, error) {
	t, err := newTranslator(in, target)
	if err != nil {
		return Result{}, err
	}
	groups := t.aliasGroups()
	t.files = t.findFileObjects()
	pods := t.pods(groups)
	deps := t.allDependencies()
	t.rollWith(pods, deps)

	r := Result{Project: in.Project.Name, Namespace: t.namespace}
	r.Services = slices.Grow(r.Services, len(t.units))
	for _, u := range t.units {
		r.Services = append(r.Services, t.service(u, pods[u], deps[u]))
	}
	slices.SortStableFunc(r.Services, func(a, b Service) int { return compare(a.Name, b.Name) })
	r.Shared = t.sharedObjects(groups)
	if err := t.patchAll(&r); err != nil {
		return Result{}, err
	}
	r.Images = t.images()
	r.Names = t.names(groups)
	t.reportNetworks()
	t.reportDockerDNS()
	t.reportAttributes()
	r.Report = t.report.finish()
	return r, nil
}

// sharedObjects returns what belongs to no single service, and every
// kubeService, in apply order.
func (t *translator) sharedObjects(groups []aliasGroup) []Object {
	out := []Object{t.namespaceObject()}
	out = append(out, t.claimObjects()...)
	out = append(out, t.bindClaims.objects(t)...)
	out = append(out, t.pullSecret()...)
	out = append(out, t.files.objects()...)
	out = append(out, t.policies()...)
	for _, u := range t.units {
		out = append(out, t.kubeServices(u)...)
	}
	return append(out, t.aliasServices(groups)...)
}

// namespaceObject is the namespace of the project.
func (t *translator) namespaceObject() Object {
	n := &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: t.meta(t.namespace, nil)}
	n.Namespace = ""
	annotations := map[string]string{}
	if t.project.Name != t.namespace {
		annotations[annotationName] = t.project.Name
	}
	if t.owned() && t.project.WorkingDir != "" {
		annotations[annotationProjectDir] = t.project.WorkingDir
	}
	if len(annotations) > 0 {
		n.Annotations = annotations
	}
	return n
}

// pods makes the pod template of every unit that has a pod of its own.
func (t *translator) pods(groups []aliasGroup) map[*unit]*pod {
	out := make(map[*unit]*pod, len(t.units))
	aliases := aliasLabels(groups)
	for _, u := range t.units {
		if u.kind != none {
			out[u] = t.podOf(u, aliases[u])
		}
	}
	return out
}

// allDependencies returns what each unit waits for.
func (t *translator) allDependencies() map[*unit][]Dependency {
	out := make(map[*unit][]Dependency, len(t.units))
	for _, u := range t.units {
		out[u] = t.dependencies(u)
	}
	t.hostDependencies(out)
	return out
}

// service puts together what became of one unit.
func (t *translator) service(u *unit, p *pod, deps []Dependency) Service {
	policy, _, _ := restartPolicy(u.svc)
	s := Service{
		Name: u.name, Kind: string(u.kind), Workload: u.host.kube, Container: u.container, Replicas: int32(replicasOf(u)),
		Image: u.image, Restart: policy, DependsOn: deps, Ports: t.publishedPorts(u), URLs: t.urls(u), Binds: u.binds,
	}
	t.reportRestart(u)
	t.reportReplicas(u)
	t.reportOrder(u)
	t.reportPorts(u)
	t.reportClosed(u)
	t.reportGuest(u)
	t.reportHints(u)
	if u.host.kind == none { // a provider's, or an external name: nothing runs
		s.Workload, s.Image, s.Replicas, s.Ports, s.URLs = "", "", 0, nil, nil
		return s
	}
	if p != nil {
		s.Objects = append(s.Objects, p.objects...)
		workload := t.workload(u, p, deps)
		s.Objects = append(s.Objects, workload)
		if c, ok := workload.(*batchv1.CronJob); ok {
			s.Objects = append(s.Objects, t.moreCronJobs(u, c)...)
		}
		if hpa := t.autoscaler(u); hpa != nil {
			s.Objects = append(s.Objects, hpa)
		}
	}
	s.Objects = append(s.Objects, t.ingresses(u)...)
	return s
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
