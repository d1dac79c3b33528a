package devloop

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

// Want is the desired state: a translated project and what was asked of it.
type Want struct {
	Input   translate.Input
	Result  translate.Result
	Options UpOptions
	Select  map[string]bool // services to act on
	Held    []string        // services taken off the selection because the cluster has them, sorted
	Removed map[string]bool // services that a running loop has seen in the project and that are gone
	Follow  bool            // the cluster is followed afterwards: nobody need wait to see whether what runs stays up
}

// Have is what is known to be there.
type Have struct {
	Facts    map[string]model.ImageFacts   // what is known of images of the engine, by translate.Image.Ref
	Stale    map[string]bool               // images that are behind their sources, by translate.Image.Ref
	Loaded   map[string]bool               // images that every node has, by ImageFacts.Ref; what up does not know it loads
	Services map[string]model.ServiceState // of the cluster, by compose service
	Ledger   map[string][]model.FileSync   // by service: what containers must get on top of their image
	Seen     map[string]bool               // containers that have all of the ledger, by PodState.ContainerID
	Away     map[string]bool               // nodes that do not answer: what runs there is left out

	Unsupervised map[string]bool // services whose programs cannot be restarted in place
	Unsyncable   map[string]bool // services that are rebuilt, because files cannot be written into their containers
}

// Dirty says what to look at, each with its cause. Services and images that
// are not dirty are left alone.
type Dirty struct {
	All      string              // the whole project, when not ""
	Images   map[string]string   // images to make again, by translate.Image.Ref
	Services map[string]string   // services to apply
	Restart  map[string]string   // services whose pods are to be replaced
	Sync     map[string]SyncWork // services whose containers are to be changed in place
}

// SyncWork is what to do inside the running containers of a service. A
// container that was not seen before gets the whole ledger instead of Files.
type SyncWork struct {
	Cause   string
	Files   []model.FileSync
	New     bool             // there are containers that were not seen before
	Restart bool             // restart the program after the files are there, also where they were seen
	Exec    []model.ExecSpec // run after the files are there
}

// newWant checks what was asked and selects the services to act on.
func newWant(in translate.Input, result translate.Result, opts UpOptions) (Want, error) {
	w := Want{Input: in, Result: result, Options: opts, Select: map[string]bool{}}
	known := map[string]translate.Service{}
	for _, s := range result.Services {
		known[s.Name] = s
	}
	for _, name := range slices.Concat(opts.Services, sortedKeys(opts.Scale)) {
		if _, ok := known[name]; !ok {
			return Want{}, unknownService(name, result)
		}
	}
	var add func(name string)
	add = func(name string) {
		s, ok := known[name]
		if !ok || w.Select[name] {
			return
		}
		w.Select[name] = true
		if opts.NoDeps {
			return
		}
		for _, d := range s.DependsOn {
			add(d.Service)
		}
	}
	asked := opts.Services
	if len(asked) == 0 {
		for _, s := range result.Services {
			asked = append(asked, s.Name)
		}
	}
	for _, name := range asked {
		add(name)
	}
	w.selectPods()
	return w, nil
}

// selectPods makes sure that services which share a pod are selected together.
func (w *Want) selectPods() {
	for _, s := range w.Result.Services {
		if w.Select[s.Name] || w.Select[w.carrier(s.Name)] {
			w.Select[s.Name] = true
			w.Select[w.carrier(s.Name)] = true
		}
	}
}

func unknownService(name string, result translate.Result) error {
	names := make([]string, len(result.Services))
	for i, s := range result.Services {
		names[i] = s.Name
	}
	return problem.New(fmt.Sprintf("project %q has no service %q", result.Project, name), nil,
		"use one of its services: "+strings.Join(names, ", "))
}

// blocked returns an error when what would run is not what the user has, with
// all that is in the way of the selected services.
func (w Want) blocked() error {
	var errs []error
	hint := ""
	for _, e := range w.Result.Report {
		rest, ofService := strings.CutPrefix(e.Path, "services.")
		name, _, _ := strings.Cut(rest, ".")
		if !e.Blocks || ofService && !w.Select[name] {
			continue
		}
		at := e.Path
		if e.Position.File != "" {
			at = fmt.Sprintf("%s:%d: %s", e.Position.File, e.Position.Line, e.Path)
		}
		errs = append(errs, fmt.Errorf("%s: %s", at, e.Done))
		hint = cmp.Or(hint, e.Do)
	}
	if len(errs) == 0 {
		return nil
	}
	return problem.New(fmt.Sprintf("bring up project %q", w.Result.Project), errors.Join(errs...), hint)
}

// holdExisting takes the services off the selection that --no-recreate leaves
// alone.
func (w *Want) holdExisting(have Have) {
	if !w.Options.NoRecreate {
		return
	}
	for _, name := range sortedKeys(w.Select) {
		if _, there := have.Services[w.carrier(name)]; there && w.Select[name] {
			w.Select[name] = false
			w.Held = append(w.Held, name)
		}
	}
}

// service returns the translated service called name.
func (w Want) service(name string) (translate.Service, bool) {
	i := slices.IndexFunc(w.Result.Services, func(s translate.Service) bool { return s.Name == name })
	if i < 0 {
		return translate.Service{}, false
	}
	return w.Result.Services[i], true
}

// carrier returns the service whose pod runs the service called name: itself,
// unless it shares another's network.
func (w Want) carrier(name string) string {
	for range w.Result.Services {
		s, ok := w.service(name)
		if !ok || s.Kind != "" {
			return name
		}
		c := w.Input.Project.Services[name]
		next := name
		for _, mode := range []string{c.NetworkMode, c.Pid, c.Ipc} {
			if other, shares := strings.CutPrefix(mode, "service:"); shares {
				next = other
				break
			}
		}
		if next == name {
			return name
		}
		name = next
	}
	return name
}

// podMembers lists the services that run in the pods of the service called
// name, itself first.
func (w Want) podMembers(name string) []translate.Service {
	var members []translate.Service
	for _, s := range w.Result.Services {
		if s.Name == name {
			members = slices.Insert(members, 0, s)
		} else if s.Kind == "" && w.carrier(s.Name) == name {
			members = append(members, s)
		}
	}
	return members
}

// podImages lists the images that the pods of the service called name need: of
// its containers, hooks and volumes.
func (w Want) podImages(name string) []translate.Image {
	members := w.podMembers(name)
	var images []translate.Image
	for _, img := range w.Result.Images {
		if slices.ContainsFunc(members, func(m translate.Service) bool { return slices.Contains(img.Services, m.Name) }) {
			images = append(images, img)
		}
	}
	return images
}

// orphans lists services of the cluster that the project does not have and no
// inactive profile accounts for.
func (w Want) orphans(have Have) []string {
	var names []string
	for name := range have.Services {
		if _, ok := w.service(name); !ok && !w.Removed[name] && !slices.Contains(w.Input.LeftOut, name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// keepServices lists services whose objects a prune must leave alone.
func (w Want) keepServices(have Have) []string {
	keep := slices.DeleteFunc(slices.Clone(w.Input.LeftOut), func(name string) bool { return w.Removed[name] })
	for _, s := range w.Result.Services {
		if !w.Select[s.Name] {
			keep = append(keep, s.Name)
		}
	}
	if !w.Options.RemoveOrphans {
		keep = append(keep, w.orphans(have)...)
	}
	sort.Strings(keep)
	return slices.Compact(keep)
}

// ports lists what is to be published: the ports of the selected services and
// of those that run already.
func (w Want) ports(have Have) []model.PublishedPort {
	var ports []model.PublishedPort
	for _, s := range w.Result.Services {
		_, runs := have.Services[w.carrier(s.Name)]
		if n, scaled := w.Options.Scale[s.Name]; !runs && (!w.Select[s.Name] || scaled && n == 0) {
			continue // nobody would answer
		}
		for _, p := range s.Ports {
			ports = append(ports, model.PublishedPort(p))
		}
	}
	return ports
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
