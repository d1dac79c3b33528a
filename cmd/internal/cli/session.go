package cli

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/agentset"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/names"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// A session is a compose project, the cluster it goes to, and the engine that
// brings one to the other: what up and dev work with.
type session struct {
	engine *devloop.Engine
	deploy *apply.Project
	kube   *kube.Client
	input  translate.Input                 // as it was read first
	latest atomic.Pointer[translate.Input] // as it was read last
	source composefile.Source
	info   cluster.Info
	images *image.Images
	nodes  []*image.KindNode
	agents []*agent.Node
	live   *liveNodes    // of nodes that are containers of the engine; nil for others
	debug  *debugging    // nil: no service is debugged
	set    *agentset.Set // the agent on a cluster that berth did not create; nil for none
}

// sessionOptions say what a session is for.
type sessionOptions struct {
	plan   bool              // nothing may be changed, no cluster created
	events devloop.EventSink // of dev
	debug  string            // the service to debug; "" for none
	agent  bool              // the user asks for the agent on a cluster that berth did not create
	named  []string          // services that flags name
}

// newSession reads the project and makes sure of its cluster.
func (app *App) newSession(ctx context.Context, services []string, opts sessionOptions) (*session, error) {
	input, source, err := app.project(ctx, services)
	if err != nil {
		return nil, err
	}
	if err := knownServices(input, opts.named); err != nil {
		return nil, err // before a cluster is made
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{input: input, source: source}
	s.latest.Store(&input)
	if app.owned() {
		if err := ownPlatformFits(ctx, engine, input.Project); err != nil {
			return nil, err // before a cluster is made
		}
		if s.info, err = app.clusterFor(ctx, source, opts.plan); err != nil {
			return nil, err
		}
	}
	if s.kube, err = app.kube(); err != nil {
		return nil, err
	}
	name := input.Project.Name
	s.deploy = apply.New(s.kube, name, translate.Namespace(name), app.sink())
	if app.owned() {
		if err := s.connectNodes(ctx, engine); err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.live = newLiveNodes(engine, s.info.Name, s.nodes)
		s.deploy.UseNodes(newSyncer(engine, s))
	}
	deps, err := app.deps(ctx, engine, s, services, opts)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.engine = devloop.New(deps)
	return s, nil
}

// knownServices returns an error for a name that is no service's.
func knownServices(input translate.Input, names []string) error {
	known := input.Project.ServiceNames()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return unknownService(name, known)
		}
	}
	return nil
}

// deps gives the dev loop the real parts of infra.
func (app *App) deps(ctx context.Context, engine *docker.Client, s *session, services []string, opts sessionOptions) (devloop.Deps, error) {
	images, err := image.New(engine, image.Options{Getenv: app.Getenv})
	if err != nil {
		return devloop.Deps{}, err
	}
	s.images = images
	translator := translate.Translate
	if opts.debug != "" {
		s.debug = newDebugging(opts.debug)
		translator = s.debug.translate
	}
	parallel, err := parallelLimit(s.input.Project)
	if err != nil {
		return devloop.Deps{}, err
	}
	first := &s.input // read already; a change reads it again
	deps := devloop.Deps{
		Read: func(ctx context.Context) (translate.Input, error) {
			if in := first; in != nil {
				first = nil
				return *in, nil
			}
			in, _, err := app.readProject(ctx, services)
			if err == nil {
				s.latest.Store(&in)
			}
			return in, err
		},
		Translate: translator,
		Applier:   s.deploy,
		Parallel:  parallel,
		Sink:      app.sink(),
		Events:    opts.events,
	}
	if !app.owned() {
		err := app.foreignParts(ctx, engine, s, &deps, opts)
		return deps, err
	}
	if deps.Target, err = app.target(ctx, engine, s); err != nil {
		return devloop.Deps{}, err
	}
	onNodes := s.nodeImages(&deps)
	deps.Images, deps.Loader = onNodes, onNodes
	deps.Publisher = &publisher{
		gateway: gateway.New(engine), kube: s.kube, project: s.input.Project.Name,
		namespace: s.deploy.Namespace(), cluster: s.info.Name,
	}
	deps.Syncer = newSyncer(engine, s)
	deps.Metrics = &metricsServer{app: app, engine: engine, kube: s.kube, cluster: s.info}
	err = app.useNames(ctx, s, &deps, opts.plan)
	return deps, err
}

// target says what the session's cluster can do.
func (app *App) target(ctx context.Context, engine *docker.Client, s *session) (translate.Target, error) {
	t := translate.Target{
		Kind:          translate.Owned,
		IngressDomain: "localhost",
		HTTPPort:      s.info.HTTPPort(),
		Nodes:         len(workersOf(s.nodes)),
		AgentDir:      agent.Dir,
	}
	gateway, err := engine.Gateway(ctx, "kind")
	if err != nil {
		return t, err
	}
	t.HostGateway = gateway.String()
	if s.info.Spec != nil {
		for _, m := range s.info.Spec.Mounts {
			t.Mounts = append(t.Mounts, translate.Mount{Host: m.Source, Node: m.Target})
		}
	}
	return t, nil
}

// useNames has the cluster's DNS serve the names of compose networks. A DNS
// that does not know of them yet learns, unless nothing may be changed.
func (app *App) useNames(ctx context.Context, s *session, deps *devloop.Deps, plan bool) (err error) {
	dns := names.New(s.kube)
	address := dns.Install
	if plan {
		address = dns.Address
	}
	if deps.Target.DNSAddress, err = address(ctx); err != nil || deps.Target.DNSAddress == "" {
		return err
	}
	deps.Target.DNSZone = names.Zone
	deps.Resolver = &resolver{dns: dns, namespace: s.deploy.Namespace()}
	return nil
}

// resolver makes the names of one project known to the cluster's DNS.
type resolver struct {
	dns       *names.Resolver
	namespace string
}

// Set makes names all that the project has.
func (r *resolver) Set(ctx context.Context, names []model.Name, sink progress.Sink) error {
	return r.dns.Set(ctx, r.namespace, names, sink)
}

// connectNodes opens the nodes and puts the agent onto each.
func (s *session) connectNodes(ctx context.Context, engine *docker.Client) error {
	var err error
	if s.nodes, err = image.NodesOf(ctx, engine, s.info.Name); err != nil {
		return err
	}
	s.agents = make([]*agent.Node, len(s.nodes))
	group, ctx := errgroup.WithContext(ctx)
	for i, n := range s.nodes {
		group.Go(func() (err error) {
			s.agents[i], err = agent.Connect(ctx, engine, n.Name())
			return err
		})
	}
	return group.Wait()
}

// prune removes superseded builds of the project from engine and nodes; the
// last few of each image stay, and whatever the cluster names: after a return to
// an earlier source that is an old one.
func (s *session) prune(ctx context.Context) error {
	used, err := s.deploy.Images(ctx)
	if err != nil {
		return err
	}
	return s.pruneImages(ctx, s.input.Project.Name, used)
}

// pruneImages removes superseded builds of a project but for those to keep.
func (s *session) pruneImages(ctx context.Context, project string, keep []string) (err error) {
	var nodes []image.Node // none where a registry has the images
	if s.live != nil {
		if nodes, err = s.live.workers(ctx); err != nil {
			return err
		}
	}
	return s.images.Prune(ctx, image.PruneRequest{Project: project, Keep: keep, Nodes: nodes})
}

// workersOf are the nodes that run pods: all but the control plane, unless there
// is nothing else.
func workersOf(nodes []*image.KindNode) []image.Node {
	var workers, all []image.Node
	for _, n := range nodes {
		all = append(all, n)
		if !n.ControlPlane() {
			workers = append(workers, n)
		}
	}
	if len(workers) == 0 {
		return all
	}
	return workers
}

// close ends what the session opened on the nodes.
func (s *session) close() error {
	var errs []error
	for _, a := range s.agents {
		if a != nil {
			errs = append(errs, a.Close())
		}
	}
	for _, n := range s.nodes {
		n.Close()
	}
	if s.live != nil {
		errs = append(errs, s.live.close())
	}
	return errors.Join(errs...)
}

// engineImages makes images available in the engine, as the dev loop asks.
type engineImages struct{ images *image.Images }

// Build builds an image.
func (e *engineImages) Build(ctx context.Context, spec model.BuildSpec, sink progress.Sink) (model.ImageFacts, error) {
	return e.images.Build(ctx, spec, sink)
}

// Ensure sees to it that the engine holds an image.
func (e *engineImages) Ensure(ctx context.Context, ref string, policy model.PullPolicy, platform string, sink progress.Sink) (model.ImageFacts, error) {
	return e.images.Ensure(ctx, image.Wanted{Ref: ref, Policy: policy, Platform: platform}, sink)
}

// AddUsers adds the users and groups of an image that the engine holds.
func (e *engineImages) AddUsers(ctx context.Context, facts *model.ImageFacts) error {
	return e.images.AddUsers(ctx, facts)
}
