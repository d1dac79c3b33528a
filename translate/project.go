package translate

import (
	"sort"

	"github.com/compose-spec/compose-go/v2/types"
)

// Labels and annotations of every object. Other packages know them by the
// same values; translate imports none of them.
const (
	labelProject   = "com.docker.compose.project"
	labelService   = "com.docker.compose.service"
	labelVolume    = "com.docker.compose.volume"
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "berth"
	labelNetwork   = "network.berth.dev/" // and the network's name: members of it
	labelServes    = "berth.dev/serves"   // on pods that the dev loop takes out of service while it changes them
	labelAlias     = "alias.berth.dev/"   // and the alias: pods of several services behind one name

	annotationName       = "berth.dev/compose-name" // the name in the compose file where Kubernetes could not have it
	annotationImageID    = "berth.dev/image-id"     // on pod templates: the image ID they were made for
	annotationLabels     = "berth.dev/labels"       // compose labels and annotations that are no valid keys, as JSON
	annotationDependsOn  = "berth.dev/depends-on"   // on pod templates: a hash of the services they restart with
	annotationProjectDir = "berth.dev/project-dir"
	annotationNeeds      = "berth.dev/needs" // on workloads: what their services depend on, for verbs that start and stop them in order
)

// translator holds what the rules need to know of the whole project. Rules
// read it and return objects; the report is the one thing they add to.
type translator struct {
	project   *types.Project
	in        Input
	target    Target
	namespace string
	report    *reporter
	hints     ProjectHints

	units     []*unit // services, then compose jobs, each sorted by name
	services  map[string]*unit
	kubeNames *nameSet                // names of kubeServices
	networks  map[string]string       // compose network -> name in labels
	zones     *nameSet                // names of DNS zones: those of networks, and of pods that have links
	claims    map[string]string       // compose volume -> name of the claim
	volumes   map[string]storageHints // x-berth of the top-level volumes that have some
	refs      portRefs
	shared    map[string]bool    // services whose anonymous volumes others use
	mountedBy map[string][]*unit // who mounts the named volumes that are in use

	isolatedNetworks bool              // the networks divide the project
	usedNetworks     []string          // networks with members, sorted
	podsOn           map[string]int    // workloads on each of them
	links            []link            // aliases of links, each for one pod alone
	mostDots         int               // in a name of the project
	fixed            map[string]string // address in a compose network -> service
	linkZones        map[*unit]string  // name of the zone of a pod that has some
	files            fileObjects
	copiedBy         map[string]*unit             // who mounts the object of that name, a copy of files of the host
	middlewares      map[string]map[string]string // of Traefik, in the labels of all services; nil until one is asked for
	envUsed          map[*unit]int                // bytes that the variables of a pod take
	bindClaims       *bindClaims                  // claims in place of directories of the host
}

// unit is one compose service, or one compose job, on its way to Kubernetes.
type unit struct {
	name      string
	path      string // services.web
	svc       *types.ServiceConfig
	job       *types.JobConfig // nil for services
	hints     serviceHints
	image     string      // Image.Ref
	facts     *ImageFacts // nil when nothing is known
	kube      string      // name of the workload and of the kubeService
	container string      // name of its container
	ready     string      // name of the ready-only kubeService
	kind      kind
	host      *unit   // the unit whose pod runs this one; itself in most cases
	carried   []*unit // other units in its pod, sorted by name
	networks  []string
	ports     unitPorts
	aliases   []alias
	routes    []route
	served    []knownPort // ports of its ready-only kubeService
	binds     []Bind
	guarded   bool // a route to it is left out, because nothing would guard it

	supervised bool // berth's supervisor is the first process of its container
}

// newTranslator names everything and decides who runs in whose pod.
func newTranslator(in Input, target Target) (*translator, error) {
	t := &translator{
		project: in.Project, in: in, target: target,
		report:    newReporter(in, target.Kind),
		services:  make(map[string]*unit, len(in.Project.Services)),
		kubeNames: newNameSet(maxLabel),
		volumes:   map[string]storageHints{},
		shared:    map[string]bool{},
		linkZones: map[*unit]string{},
		podsOn:    map[string]int{},
		copiedBy:  map[string]*unit{},
		envUsed:   map[*unit]int{},
	}
	t.bindClaims = &bindClaims{names: newNameSet(maxLabel), byHost: map[string]*bindClaim{}}
	t.namespace = target.Namespace
	if t.namespace == "" {
		t.namespace = Namespace(in.Project.Name)
	}
	t.makeUnits()
	if err := t.readHints(); err != nil {
		return nil, err
	}
	t.zones = newNameSet(maxLabel)
	t.networks = t.zones.takeAll(sortedKeys(in.Project.Networks))
	t.claims = t.claimNames()
	t.joinPods()
	t.decideKinds()
	t.usedNetworks = t.findUsedNetworks()
	t.isolatedNetworks = t.isolated()
	t.refs = t.findPortRefs()
	t.mountedBy = t.volumeUsers()
	for _, u := range t.units {
		u.ports = t.portsOf(u)
		u.aliases = t.aliasesOf(u)
		for _, from := range u.svc.VolumesFrom {
			t.shared[volumesFromService(from)] = true
		}
	}
	for _, u := range t.units {
		u.ready = t.kubeNames.take(suffixed(u.kube, "-ready", maxLabel))
		u.routes = t.routesOf(u)
		u.served = t.readyPorts(u)
	}
	t.mostDots, t.fixed = t.dots(), t.fixedAddresses()
	return t, nil
}

// makeUnits makes a unit of every service and job and gives it its names.
func (t *translator) makeUnits() {
	p := t.project
	t.units = make([]*unit, 0, len(p.Services)+len(p.Jobs))
	names := sortedKeys(p.Services)
	kube := t.kubeNames.takeAll(names)
	for _, name := range names {
		svc := p.Services[name]
		u := &unit{name: name, path: "services." + name, svc: &svc, kube: kube[name]}
		t.services[name] = u
		t.units = append(t.units, u)
	}
	names = sortedKeys(p.Jobs)
	kube = t.kubeNames.takeAll(names)
	for _, name := range names {
		job := p.Jobs[name]
		svc := types.ServiceConfig{Name: name, ContainerSpec: job.ContainerSpec, WorkloadSpec: job.WorkloadSpec, Extensions: job.Extensions}
		t.units = append(t.units, &unit{name: name, path: "jobs." + name, svc: &svc, job: &job, kube: kube[name]})
	}
	for _, u := range t.units {
		u.host = u
		u.image = imageRef(p.Name, u)
		if f, ok := t.in.Images[u.image]; ok {
			u.facts = &f
		}
	}
}

// imageRef is the name the user knows a service's image by.
func imageRef(project string, u *unit) string {
	if u.svc.Image != "" {
		return u.svc.Image
	}
	return project + "-" + u.name
}

// readHints decodes and checks every x-berth of the project.
func (t *translator) readHints() error {
	d := hintDecoder{positions: t.in.Positions}
	t.hints = d.project(t.project)
	for _, u := range t.units {
		if raw := u.svc.Extensions[extension]; raw != nil {
			path := u.path + "." + extension
			d.decode(path, raw, &u.hints)
			d.checkService(path, u.hints, t.services)
		}
		for i, v := range u.svc.Volumes {
			if raw := v.Extensions[extension]; raw != nil {
				var h mountHints
				at := itemPath(u.path, "volumes", i) + "." + extension
				d.decode(at, raw, &h)
				d.choice(at+".as", h.As, "", "live", "snapshot", "claim", "skip")
			}
		}
		if u.job != nil && u.job.Triggers != nil {
			for i, s := range u.job.Triggers.Schedule {
				at := itemPath(u.path, "triggers.schedule", i)
				d.checkSchedule(at+".cron", s.Cron)
				d.checkTimezone(at+".timezone", s.Timezone)
			}
		}
	}
	for _, u := range t.units {
		d.checkUse(u, t.services)
	}
	for _, key := range sortedKeys(t.project.Volumes) {
		if raw := t.project.Volumes[key].Extensions[extension]; raw != nil {
			var h storageHints
			path := "volumes." + key + "." + extension
			d.decode(path, raw, &h)
			d.checkStorage(path, h)
			t.volumes[key] = h
		}
	}
	return d.errs.orNil()
}

// joinPods finds the units that run in another one's pod: network_mode,
// ipc and pid of the form service:X, and x-berth.sidecarOf.
func (t *translator) joinPods() {
	awaited := t.awaited()
	for _, u := range t.units {
		u.networks = t.networksOf(u)
		if host := t.podOwner(u, awaited[u.path]); host != nil {
			u.host = host
		}
	}
	for _, u := range t.units {
		u.host = finalHost(u)
	}
	for _, u := range t.units {
		if u.host == u {
			if name, ok := serviceRef(u.svc.NetworkMode); ok && hasPod(t.services[name]) {
				u.networks = t.services[name].host.networks // it reaches whom it would have reached
			}
			continue
		}
		u.host.carried = append(u.host.carried, u)
		u.networks = u.host.networks
	}
	for _, u := range t.units {
		sort.Slice(u.carried, func(i, j int) bool { return u.carried[i].name < u.carried[j].name })
	}
}

// finalHost follows the hosts to the end. In a circle, which no engine could
// start either, everybody runs with the first by name.
func finalHost(u *unit) *unit {
	first, at := u, u
	seen := map[*unit]bool{}
	for at.host != at {
		if seen[at] {
			return first
		}
		seen[at] = true
		if at.name < first.name {
			first = at
		}
		at = at.host
	}
	return at
}

// networksOf returns the compose networks u is a member of, sorted.
func (t *translator) networksOf(u *unit) []string {
	if u.svc.NetworkMode != "" && u.svc.NetworkMode != "default" && u.svc.NetworkMode != "bridge" {
		return nil
	}
	if len(u.svc.Networks) == 0 {
		return []string{"default"}
	}
	return sortedKeys(u.svc.Networks)
}

// labels returns the labels of an object of the project, and of a unit when u
// is not nil.
func (t *translator) labels(u *unit) map[string]string {
	l := map[string]string{labelProject: LabelValue(t.project.Name), labelManagedBy: managedBy}
	if u != nil {
		l[labelService] = LabelValue(u.name)
	}
	return l
}

// selector returns the labels that find the pods of u. They never change: the
// selector of a workload cannot.
func (t *translator) selector(u *unit) map[string]string {
	return map[string]string{labelProject: LabelValue(t.project.Name), labelService: LabelValue(u.name)}
}

// serving is the selector of kubeServices of u: its pods, without those that
// the dev loop has taken out of service for a moment.
func (t *translator) serving(u *unit) map[string]string {
	selector := t.selector(u)
	if t.drains(u) {
		selector[labelServes] = "true"
	}
	return selector
}

// drains reports whether the dev loop changes pods of u in place while others
// serve: those of Deployments that are built.
func (t *translator) drains(u *unit) bool {
	return t.target.Dev && t.owned() && u.kind == deployment && u.svc.Build != nil && replicasOf(u) > 1
}

// owned reports whether the target is a cluster that berth made.
func (t *translator) owned() bool { return t.target.Kind == Owned }
