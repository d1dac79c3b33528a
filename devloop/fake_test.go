package devloop

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// A world is an engine, a cluster with nodes and a host, all in memory. It is
// every infra part at once. Images hold the files of their build context, and
// containers start with the files of their image.
type world struct {
	t *testing.T

	mu        sync.Mutex
	nodes     map[string]map[string]bool // node -> image refs
	images    map[string]fakeImage       // by ref
	objects   map[model.ObjectKey]string // hash
	labels    map[model.ObjectKey]string // service
	services  map[string]*fakeService
	published []model.PublishedPort
	log       []string
	running   map[string]int // actions of a kind now
	peak      map[string]int
	nextPod   int
	changed   chan struct{} // closed and replaced at every change
	away      error         // what the cluster that is followed answers instead of its state
	deaf      bool          // who follows the cluster hears nothing new
	down      string        // a node that does not answer; "" for none

	// Faults and brakes. A brake is asked before the work and may block on ctx.
	fault map[string]error // "build web", "load node-2", "wait web", "apply web", "sync web"
	brake func(ctx context.Context, what string) error
	once  map[string]bool // faults that occur once

	reading func(source string) (read func()) // called around the reading of a file or a build context; nil for nobody

	noSwap string // why images cannot be swapped in place

	built map[string]model.BuildSpec // by image name, its last build
}

type fakeImage struct {
	facts model.ImageFacts
	files map[string]string // path below the context -> content
}

type fakeService struct {
	kind, name, image string
	replicas          int32
	user              int64
	pods              []*fakePod
}

type fakePod struct {
	name, node, image string
	files             map[string]string // absolute path in the container -> content
	restarts          int32
	program           model.Program
	reason            string // why it is not ready; "" when it is
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, nodes: map[string]map[string]bool{"node-1": {}, "node-2": {}, "node-3": {}}, images: map[string]fakeImage{},
		objects: map[model.ObjectKey]string{}, labels: map[model.ObjectKey]string{}, services: map[string]*fakeService{},
		running: map[string]int{}, peak: map[string]int{}, changed: make(chan struct{}),
		fault: map[string]error{}, once: map[string]bool{}, built: map[string]model.BuildSpec{},
	}
	return w
}

// enter notes the beginning of work, and returns its fault if it has one.
func (w *world) enter(ctx context.Context, what string) (leave func(), err error) {
	kind, _, _ := strings.Cut(what, " ")
	w.mu.Lock()
	w.log = append(w.log, what)
	w.running[kind]++
	w.peak[kind] = max(w.peak[kind], w.running[kind])
	brake, fault := w.brake, w.fault[what]
	if w.once[what] {
		delete(w.fault, what)
	}
	w.notify()
	w.mu.Unlock()
	leave = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.running[kind]--
		w.notify()
	}
	if brake != nil {
		if err := brake(ctx, what); err != nil {
			leave()
			return nil, err
		}
	}
	if fault == nil {
		fault = ctx.Err()
	}
	if fault != nil {
		leave()
		return nil, fmt.Errorf("%s: %w", what, fault)
	}
	return leave, nil
}

func (w *world) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// until waits for a state of the world, or of what its changes tell of.
func (w *world) until(what string, state func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), testPatience)
	defer cancel()
	for {
		w.mu.Lock()
		ok, changed := state(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Fatalf("never %s; log:\n%s", what, strings.Join(w.log, "\n"))
		}
	}
}

func (w *world) logged(entry string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count(entry)
}

func (w *world) count(entry string) int {
	n := 0
	for _, line := range w.log {
		if line == entry {
			n++
		}
	}
	return n
}

func (w *world) Build(ctx context.Context, spec model.BuildSpec, sink progress.Sink) (model.ImageFacts, error) {
	progress.Say(sink, progress.Note, "build", spec.Name)
	read := w.aboutToRead(spec.Context)
	files, err := readTree(spec.Context)
	if read(); err != nil {
		return model.ImageFacts{}, err
	}
	leave, err := w.enter(ctx, "build "+spec.Name)
	if err != nil {
		return model.ImageFacts{}, err
	}
	defer leave()
	if text := files["main.go"]; strings.Contains(text, "syntax error") {
		return model.ImageFacts{}, errors.New("main.go:1: " + text)
	}
	h := sha256.New()
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(h, "%q %q\n", name, files[name])
	}
	id := fmt.Sprintf("%x", h.Sum(nil))[:12]
	facts := model.ImageFacts{Ref: spec.Name + ":" + id, ID: "sha256:" + id}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images[facts.Ref] = fakeImage{facts, files}
	w.built[spec.Name] = spec
	return facts, nil
}

func (w *world) Ensure(ctx context.Context, ref string, _ model.PullPolicy, _ string, sink progress.Sink) (model.ImageFacts, error) {
	progress.Say(sink, progress.Note, "pull", ref)
	leave, err := w.enter(ctx, "pull "+ref)
	if err != nil {
		return model.ImageFacts{}, err
	}
	defer leave()
	facts := model.ImageFacts{Ref: ref, ID: "sha256:" + ref}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images[ref] = fakeImage{facts: facts}
	return facts, nil
}

// AddUsers knows of alice.
func (w *world) AddUsers(_ context.Context, facts *model.ImageFacts) error {
	facts.Passwd = map[string]model.UserIDs{"alice": {UID: 1234, GID: 567}}
	return nil
}

func (w *world) Load(ctx context.Context, refs []string, _ progress.Sink) ([]model.NodeLoad, error) {
	var loads []model.NodeLoad
	var errs []error
	for _, ref := range refs {
		leave, err := w.enter(ctx, "load "+strings.Split(ref, ":")[0])
		if err != nil {
			return loads, err
		}
		w.mu.Lock()
		for _, node := range sortedKeys(w.nodes) {
			load := model.NodeLoad{Node: node, Image: ref, Outcome: model.LoadSent}
			if w.nodes[node][ref] {
				load.Outcome = model.LoadPresent
			} else if fault := w.fault["load "+node]; fault != nil {
				load.Outcome, load.Err = model.LoadFailed, fault
				errs = append(errs, fmt.Errorf("load image %q onto node %q: %w", ref, node, fault))
				if w.once["load "+node] {
					delete(w.fault, "load "+node)
				}
			} else {
				w.nodes[node][ref] = true
			}
			loads = append(loads, load)
		}
		w.mu.Unlock()
		leave()
	}
	return loads, errors.Join(errs...)
}

func (w *world) Apply(ctx context.Context, list []model.Object) (model.ChangeSet, error) {
	var changes model.ChangeSet
	for _, o := range list {
		key, service := keyOf(o), o.GetLabels()[model.LabelService]
		leave, err := w.enter(ctx, "apply "+cmp.Or(service, key.String()))
		if err != nil {
			return changes, err
		}
		w.mu.Lock()
		verb := model.Created
		if old, there := w.objects[key]; there {
			verb = model.Updated
			if old == hashOf(o) {
				verb = model.Unchanged
			}
		}
		w.objects[key], w.labels[key] = hashOf(o), service
		if verb != model.Unchanged {
			w.rollOut(o, service)
		}
		changes = append(changes, model.Change{Key: key, Verb: verb})
		w.mu.Unlock()
		leave()
	}
	return changes, nil
}

func (w *world) Create(ctx context.Context, list []model.Object, _ bool) (model.ChangeSet, error) {
	changes, err := w.Apply(ctx, list)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range list {
		if s := w.services[o.GetLabels()[model.LabelService]]; s != nil {
			s.pods = nil
		}
	}
	return changes, err
}

// rollOut replaces the pods of a workload.
func (w *world) rollOut(o model.Object, service string) {
	s := &fakeService{name: o.GetName(), replicas: 1}
	var template corev1.PodTemplateSpec
	switch o := o.(type) {
	case *appsv1.Deployment:
		s.kind, template, s.replicas = "Deployment", o.Spec.Template, *o.Spec.Replicas
	case *batchv1.Job:
		s.kind, template = "Job", o.Spec.Template
	default:
		return
	}
	s.image = template.Spec.Containers[0].Image
	if security := template.Spec.Containers[0].SecurityContext; security != nil {
		s.user = *security.RunAsUser
	}
	w.services[service] = s
	for range s.replicas {
		w.startPod(service, s)
	}
}

func (w *world) startPod(service string, s *fakeService) {
	w.nextPod++
	nodes := sortedKeys(w.nodes)
	pod := &fakePod{name: fmt.Sprintf("%s-%d", service, w.nextPod), node: nodes[w.nextPod%len(nodes)], image: s.image, files: map[string]string{}}
	pod.program = model.Program{Running: true, Starts: 1}
	for name, content := range w.images[s.image].files {
		pod.files[path.Join("/app", name)] = content
	}
	s.pods = append(s.pods, pod)
}

// setAway makes the cluster that is followed answer with err, nil for its
// state again.
func (w *world) setAway(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = err
	w.notify()
}

// setDeaf keeps news of the cluster from who follows it, or lets them through.
func (w *world) setDeaf(deaf bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = deaf
	w.notify()
}

// killPod replaces a pod of the service by a new one, as Kubernetes does.
func (w *world) killPod(service string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[service]
	s.pods = s.pods[1:]
	w.startPod(service, s)
	w.notify()
}

func (w *world) Prune(ctx context.Context, keep []model.ObjectKey, keepServices []string) (model.ChangeSet, error) {
	leave, err := w.enter(ctx, "prune")
	if err != nil {
		return nil, err
	}
	defer leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	var changes model.ChangeSet
	for key := range w.objects {
		if slices.Contains(keep, key) || slices.Contains(keepServices, w.labels[key]) {
			continue
		}
		if key.Kind == "Deployment" || key.Kind == "Job" {
			delete(w.services, w.labels[key])
		}
		delete(w.objects, key)
		changes = append(changes, model.Change{Key: key, Verb: model.Deleted})
	}
	return changes, nil
}

func (w *world) Wait(ctx context.Context, service string, cond model.WaitCondition, _ progress.Sink) error {
	leave, err := w.enter(ctx, "wait "+service)
	if err != nil {
		return err
	}
	defer leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[service]
	if s == nil {
		return fmt.Errorf("service %q is not on the cluster", service)
	}
	for _, p := range s.pods {
		if !w.nodes[p.node][p.image] {
			return fmt.Errorf("pod %q: image %q is not on node %q", p.name, p.image, p.node)
		}
	}
	return nil
}

func (w *world) Swap(ctx context.Context, o model.Object) (string, error) {
	d := o.(*appsv1.Deployment)
	service := o.GetLabels()[model.LabelService]
	leave, err := w.enter(ctx, "swap "+service)
	if err != nil {
		return "", err
	}
	defer leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noSwap != "" {
		return w.noSwap, nil
	}
	s := w.services[service]
	s.image = d.Spec.Template.Spec.Containers[0].Image
	pods := s.pods
	s.pods = nil
	for _, p := range pods { // another container in the same pod
		w.startPod(service, s)
		s.pods[len(s.pods)-1].node = p.node
	}
	w.objects[keyOf(o)] = hashOf(o)
	return "", nil
}

func (w *world) Restart(ctx context.Context, service string) error {
	leave, err := w.enter(ctx, "recreate "+service)
	if err != nil {
		return err
	}
	defer leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.services[service]
	s.pods = nil
	for range s.replicas {
		w.startPod(service, s)
	}
	return nil
}

func (w *world) Observe(ctx context.Context) ([]model.ServiceState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fault["observe"]; err != nil {
		return nil, err
	}
	var states []model.ServiceState
	for _, name := range sortedKeys(w.services) {
		s := w.services[name]
		state := model.ServiceState{Service: name, Kind: s.kind, Name: s.name, Desired: s.replicas}
		for _, p := range s.pods {
			if p.reason == "" {
				state.Ready++
			}
			state.Pods = append(state.Pods, model.PodState{
				Name: p.name, Node: p.node, Ready: p.reason == "", Reason: p.reason, Image: p.image, ContainerID: p.name, Phase: "Running",
			})
		}
		states = append(states, state)
	}
	return states, ctx.Err()
}

func (w *world) Follow(ctx context.Context, report func([]model.ServiceState, error)) error {
	for {
		w.mu.Lock()
		changed, away, deaf := w.changed, w.away, w.deaf
		w.mu.Unlock()
		if deaf {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		states, err := w.Observe(ctx)
		if err != nil {
			return err
		}
		if away != nil {
			states = nil
		}
		report(states, away)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) Publish(ctx context.Context, ports []model.PublishedPort, _ progress.Sink) ([]model.PublishedPort, error) {
	leave, err := w.enter(ctx, "publish")
	if err != nil {
		return nil, err
	}
	defer leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	ports = slices.Clone(ports)
	for i := range ports {
		if ports[i].HostPort == 0 {
			ports[i].HostPort = 40000 + i
		}
	}
	w.published = ports
	return ports, nil
}

// readTree reads every file below dir; symlinks read as "-> target".
func readTree(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(name)
			files[filepath.ToSlash(rel)] = "-> " + target
			return err
		}
		data, err := os.ReadFile(name)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	return files, err
}

// fakeTranslate gives every service a Deployment, or a Job where somebody
// awaits its completion, and a Service.
func fakeTranslate(in translate.Input, _ translate.Target) (translate.Result, error) {
	r := translate.Result{Project: in.Project.Name, Namespace: in.Project.Name}
	images := map[string]*translate.Image{}
	jobs := map[string]bool{}
	for _, s := range in.Project.Services {
		for name, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				jobs[name] = true
			}
		}
	}
	for _, name := range sortedKeys(in.Project.Services) {
		c := in.Project.Services[name]
		ref := cmp.Or(c.Image, in.Project.Name+"-"+name)
		if images[ref] == nil {
			images[ref] = &translate.Image{Ref: ref, Build: c.Build, PullPolicy: c.PullPolicy, Platform: c.Platform}
		}
		images[ref].Users = images[ref].Users || c.User != ""
		images[ref].Services = append(images[ref].Services, name)
		s := translate.Service{Name: name, Kind: "Deployment", Workload: name, Replicas: int32(c.GetScale()), Image: ref}
		if jobs[name] {
			s.Kind = "Job"
		}
		if strings.HasPrefix(c.NetworkMode, "service:") {
			s.Kind, s.Workload = "", ""
		}
		for _, dep := range sortedKeys(c.DependsOn) {
			d := c.DependsOn[dep]
			s.DependsOn = append(s.DependsOn, translate.Dependency{Service: dep, Condition: d.Condition, Required: d.Required, Restart: d.Restart})
		}
		for _, p := range c.Ports {
			s.Ports = append(s.Ports, translate.PublishedPort{Service: name, KubeService: name, Target: int(p.Target), Protocol: "tcp"})
			s.URLs = []string{"http://" + name + "." + in.Project.Name + ".localhost"}
		}
		var follows string // what translate marks a pod with that restarts with others
		for _, d := range s.DependsOn {
			if other := in.Project.Services[d.Service]; d.Restart {
				follows += in.Images[cmp.Or(other.Image, in.Project.Name+"-"+d.Service)].Ref + " "
			}
		}
		s.Objects = fakeWorkload(s, cmp.Or(in.Images[ref].Ref, ref), c, follows)
		if ids, known := in.Images[ref].Passwd[c.User]; known {
			s.Objects[0].(*appsv1.Deployment).Spec.Template.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: &ids.UID}
		} else if in.Images[ref].Passwd != nil && c.User != "" {
			r.Report = append(r.Report, translate.Entry{Path: "services." + name + ".user", Status: translate.Dropped, Done: fmt.Sprintf("the image has no user %q", c.User), Do: "known: alice", Blocks: true})
		}
		r.Services = append(r.Services, s)
		r.Shared = append(r.Shared, fakeKubeService(name, in.Images[ref].Ports))
	}
	for _, ref := range sortedKeys(images) {
		r.Images = append(r.Images, *images[ref])
	}
	return r, nil
}

func fakeKubeService(name string, ports []string) translate.Object {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"ports": strings.Join(ports, " ")}},
	}
}

func fakeWorkload(s translate.Service, image string, c types.ServiceConfig, follows string) []translate.Object {
	meta := metav1.ObjectMeta{Name: s.Name, Labels: map[string]string{model.LabelService: s.Name}}
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: s.Name, Image: image}}}}
	template.Annotations = map[string]string{"follows": follows}
	for _, key := range sortedKeys(c.Environment) {
		value := c.Environment[key]
		template.Spec.Containers[0].Env = append(template.Spec.Containers[0].Env, corev1.EnvVar{Name: key, Value: *value})
	}
	switch s.Kind {
	case "Deployment":
		return []translate.Object{&appsv1.Deployment{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{Replicas: &s.Replicas, Template: template},
		}}
	case "Job":
		return []translate.Object{&batchv1.Job{
			TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: meta, Spec: batchv1.JobSpec{Template: template},
		}}
	}
	return nil
}

// A svc is a compose service as far as tests set one.
type svc struct {
	Name, Image, Restart, NetworkMode, PullPolicy, Platform, User string
	Build                                                         *types.BuildConfig
	Ports                                                         []types.ServicePortConfig
	DependsOn                                                     types.DependsOnConfig
	Scale                                                         *int
	Environment                                                   types.MappingWithEquals
	Watch                                                         []types.Trigger
}

func project(name string, services ...svc) *types.Project {
	p := &types.Project{Name: name, Services: types.Services{}}
	for _, s := range services {
		c := types.ServiceConfig{Name: s.Name, Restart: s.Restart, Scale: s.Scale}
		c.Image, c.NetworkMode, c.PullPolicy, c.Build, c.Platform = s.Image, s.NetworkMode, s.PullPolicy, s.Build, s.Platform
		c.Ports, c.DependsOn, c.Environment, c.User = s.Ports, s.DependsOn, s.Environment, s.User
		if s.Watch != nil {
			c.Develop = &types.DevelopConfig{Watch: s.Watch}
		}
		p.Services[s.Name] = c
	}
	return p
}

// depends makes a depends_on section from "name condition [optional] [restart]".
func depends(entries ...string) types.DependsOnConfig {
	config := types.DependsOnConfig{}
	for _, e := range entries {
		words := strings.Fields(e)
		config[words[0]] = types.ServiceDependency{
			Condition: "service_" + words[1], Required: !slices.Contains(words, "optional"), Restart: slices.Contains(words, "restart"),
		}
	}
	return config
}

// deps returns Deps over the world for a project that does not change.
func (w *world) deps(p *types.Project) Deps {
	return Deps{
		Read: func(context.Context) (translate.Input, error) {
			in := translate.Input{Project: p}
			return in, nil
		},
		Translate: fakeTranslate, Images: w, Loader: w, Applier: w, Publisher: w, Sink: progress.Discard,
	}
}

func sorted(m map[string]string) string {
	var lines []string
	for k := range maps.Keys(m) {
		lines = append(lines, k+"="+m[k])
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// pod finds a running container; the caller holds the lock.
func (w *world) pod(id string) *fakePod {
	for _, s := range w.services {
		for _, p := range s.pods {
			if p.name == id {
				return p
			}
		}
	}
	return nil
}

// A fakeSyncer writes into the world's containers.
type fakeSyncer struct {
	*world
	noSupervisor bool
	heard        map[string]model.Program // what is known of programs by who awaits their news, by container
	holdEnds     chan struct{}            // news of a program's end come when it is closed; nil for at once
}

// aboutToRead is called before source is read, and what it returns after.
func (w *world) aboutToRead(source string) (read func()) {
	w.mu.Lock()
	reading := w.reading
	w.mu.Unlock()
	if reading == nil {
		return func() {}
	}
	return reading(source)
}

// read reads a file that is to be synced.
func (s *fakeSyncer) read(source string) ([]byte, error) {
	defer s.aboutToRead(source)()
	return os.ReadFile(source)
}

// reach fails for a container whose node is down.
func (s *fakeSyncer) reach(pod model.PodState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pod.Node == s.down {
		return fmt.Errorf("node %q: %w", pod.Node, ErrNodeAway)
	}
	return nil
}

func (s *fakeSyncer) Sync(ctx context.Context, pod model.PodState, files []model.FileSync) error {
	if err := s.reach(pod); err != nil || len(files) == 0 {
		return err
	}
	leave, err := s.enter(ctx, "sync "+strings.Split(pod.Name, "-")[0])
	if err != nil {
		return err
	}
	defer leave()
	left := &model.Unreadable{}
	for _, f := range files {
		if info, err := os.Lstat(f.Source); err == nil && info.Mode().Type()&fs.ModeSocket != 0 {
			left.Add(errors.New(f.Source + " is a socket"))
			continue
		}
		content, err := s.read(f.Source)
		s.mu.Lock()
		p := s.pod(pod.ContainerID)
		switch {
		case p == nil:
			s.mu.Unlock()
			return errors.New("the container is gone")
		case f.Op == model.FileRemoved || errors.Is(err, fs.ErrNotExist):
			for name := range p.files {
				if inside(f.Target, name) {
					delete(p.files, name)
				}
			}
		case err == nil:
			p.files[f.Target] = string(content)
		}
		s.mu.Unlock()
	}
	return left.OrNil()
}

func (s *fakeSyncer) Restart(ctx context.Context, pod model.PodState) (model.Program, error) {
	if err := s.reach(pod); err != nil {
		return model.Program{}, err
	}
	leave, err := s.enter(ctx, "rerun "+strings.Split(pod.Name, "-")[0])
	if err != nil {
		return model.Program{}, err
	}
	defer leave()
	if s.noSupervisor {
		return model.Program{}, ErrNoSupervisor
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pod(pod.ContainerID)
	if p == nil {
		return model.Program{}, nil
	}
	p.restarts++
	p.program = model.Program{Running: true, Starts: p.program.Starts + 1}
	return p.program, nil
}

func (s *fakeSyncer) AwaitProgram(ctx context.Context, pod model.PodState, known model.Program) (model.Program, error) {
	s.mu.Lock()
	if s.heard == nil {
		s.heard = map[string]model.Program{}
	}
	s.heard[pod.ContainerID] = known
	s.notify()
	s.mu.Unlock()
	for {
		s.mu.Lock()
		p, changed := s.pod(pod.ContainerID), s.changed
		var now model.Program
		if p != nil {
			now = p.program
		}
		s.mu.Unlock()
		switch {
		case s.noSupervisor:
			return now, ErrNoSupervisor
		case p == nil:
			return now, errors.New("the container is gone")
		case now.Starts != known.Starts || now.Running != known.Running:
			if s.holdEnds != nil && !now.Running {
				select {
				case <-s.holdEnds:
				case <-ctx.Done():
					return now, ctx.Err()
				}
			}
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// endProgram lets the program of one container of a service end.
func (w *world) endProgram(service string, i, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.services[service].pods[i]
	p.program.Running, p.program.Status, p.program.Log = false, status, []string{"last words"}
	w.notify()
}

func (s *fakeSyncer) Exec(ctx context.Context, pod model.PodState, spec model.ExecSpec, output func(string)) error {
	leave, err := s.enter(ctx, "exec "+strings.Split(pod.Name, "-")[0])
	if err != nil {
		return err
	}
	defer leave()
	output("ran " + strings.Join(spec.Command, " ") + " in " + pod.Name)
	return nil
}

// containers returns the files of every container of a service.
func (w *world) containers(service string) []map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []map[string]string
	if s := w.services[service]; s != nil {
		for _, p := range s.pods {
			all = append(all, maps.Clone(p.files))
		}
	}
	return all
}
