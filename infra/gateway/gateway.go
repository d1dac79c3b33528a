package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Spec is what a project publishes.
type Spec struct {
	Project string // compose project
	Cluster string // kind cluster
	Image   string // the node image; "" takes that of the cluster's own nodes
	Routes  []Route
}

// Route is one published port and the NodePort that it leads to.
type Route struct {
	model.PublishedPort
	NodePort int
}

// Gateway is the container of one project.
type Gateway struct {
	Project string
	Cluster string
	Name    string // of the container
	Running bool
	Ports   []model.PublishedPort // with the host ports that were given out

	id      string
	agent   string // hash of the binary it was made with
	slots   []slot
	created bool // and not started yet
	since   time.Time
}

// Wanted is what to publish so that the gateway stays as it is: Ports, but 0 for
// a host port that may be any.
func (g Gateway) Wanted() []model.PublishedPort {
	wanted := slices.Clone(g.Ports)
	for i, s := range g.slots {
		if s.Random {
			wanted[i].HostPort = 0
		}
	}
	return wanted
}

// Publisher makes gateways on one engine.
type Publisher struct {
	engine *docker.Client
	local  bool // host ports are this machine's
}

// New returns a publisher that uses engine.
func New(engine *docker.Client) *Publisher {
	return &Publisher{engine: engine, local: engine.Local()}
}

const (
	configPath = "/etc/berth/gateway.json"
	labelSlots = "dev.berth.gateway.ports"
	labelAgent = "dev.berth.gateway.agent"
	patience   = 30 * time.Second // when a port that was free a moment ago is not, or another berth does the same
)

// ContainerName is the name of a project's gateway container.
func ContainerName(cluster, project string) string { return cluster + "-" + project + "-gateway" }

// Publish makes the host's ports lead where spec says, TCP and UDP, and returns
// them in the order of spec.Routes with the host ports that were chosen. When
// it returns they are listening and forwarding. A gateway that has the same host
// ports already is told the new targets and keeps its connections; without
// routes a gateway is removed. A taken port is a Problem that names its holder.
func (p *Publisher) Publish(ctx context.Context, spec Spec, sink progress.Sink) ([]model.PublishedPort, error) {
	if len(spec.Routes) == 0 {
		return nil, p.Remove(ctx, spec.Cluster, spec.Project)
	}
	if err := checkRoutes(spec.Routes); err != nil {
		return nil, err
	}
	task := progress.Start(sink, "publish ports", fmt.Sprintf("%d for project %s", len(spec.Routes), spec.Project))
	ports, err := p.publish(ctx, spec, task)
	return ports, task.End(err, addresses(ports))
}

func (p *Publisher) publish(ctx context.Context, spec Spec, task *progress.Task) ([]model.PublishedPort, error) {
	cluster, err := p.cluster(ctx, spec.Cluster)
	if err != nil {
		return nil, err
	}
	if spec.Image == "" {
		spec.Image = cluster.image
	}
	refused := map[string]bool{}
	for until := time.Now().Add(patience); ; {
		ports, err := p.attempt(ctx, spec, cluster, refused, task)
		var taken *takenError
		if !errors.As(err, &taken) || time.Now().After(until) {
			return ports, err
		}
		switch {
		case taken.other: // another berth is at the same gateway
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		case taken.slot != nil && taken.slot.chosen: // another program was faster
			refused[taken.slot.listener()] = true
		default:
			return nil, err
		}
	}
}

// attempt does it once. refused are host ports that turned out to be taken.
func (p *Publisher) attempt(ctx context.Context, spec Spec, cluster clusterFacts, refused map[string]bool, task *progress.Task) ([]model.PublishedPort, error) {
	old, err := p.settled(ctx, spec.Cluster, spec.Project, task)
	if err != nil {
		return nil, err
	}
	var had []slot
	if old != nil {
		had = old.slots
	}
	slots, err := assign(spec.Routes, had, func(s slot) bool { return !refused[s.listener()] && p.free(ctx, s) })
	if err != nil {
		return nil, err
	}
	if err := p.bring(ctx, spec, cluster, old, slots, task); err != nil {
		return nil, err
	}
	return published(spec.Routes, slots), nil
}

// bring makes the gateway be as wanted: by telling the one there is, or by
// making one.
func (p *Publisher) bring(ctx context.Context, spec Spec, cluster clusterFacts, old *Gateway, slots []slot, task *progress.Task) error {
	arch, err := p.engine.Arch(ctx)
	if err != nil {
		return err
	}
	current, err := agent.Hash(arch)
	if err != nil {
		return err
	}
	var own []slot
	if old != nil {
		own = old.slots
		if old.Running && old.agent == current && sameListeners(old.slots, slots) {
			keepInside(slots, old.slots)
			return replacedMeanwhile(p.reconfigure(ctx, *old, newConfig(spec.Routes, slots, cluster.nodes)))
		}
	}
	if err := p.checkFree(ctx, spec, slots, own); err != nil {
		return err
	}
	task.Update("starting the gateway")
	if old != nil && old.Running {
		return p.replace(ctx, *old, spec, cluster, slots, current)
	}
	if old != nil {
		if err := p.remove(ctx, *old); err != nil {
			return err
		}
	}
	return p.create(ctx, spec, cluster, slots, current)
}

// Remove ends the gateway of a project, if it has one. When it returns the host
// ports are free.
func (p *Publisher) Remove(ctx context.Context, cluster, project string) error {
	all, err := p.ofProject(ctx, cluster, project)
	if err != nil {
		return err
	}
	return p.removeEach(ctx, all)
}

// RemoveAll ends all gateways of a cluster, before or after the cluster itself goes.
func (p *Publisher) RemoveAll(ctx context.Context, cluster string) error {
	found, err := p.containers(ctx, cluster)
	if err != nil {
		return err
	}
	var all []Gateway
	for _, c := range found {
		g, err := p.read(ctx, c)
		if err != nil {
			return err
		}
		all = append(all, g)
	}
	return p.removeEach(ctx, all)
}

func (p *Publisher) removeEach(ctx context.Context, all []Gateway) error {
	for _, g := range all {
		if err := p.remove(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// List returns the gateways of a cluster ("": of all) by project.
func (p *Publisher) List(ctx context.Context, cluster string) ([]Gateway, error) {
	found, err := p.containers(ctx, cluster)
	if err != nil {
		return nil, err
	}
	all := make([]Gateway, 0, len(found))
	for _, c := range found {
		g, err := p.read(ctx, c)
		if err != nil {
			return nil, err
		}
		replaced := slices.ContainsFunc(found, func(o docker.Container) bool { return g.isNext() && o.Name+nextSuffix == g.Name })
		if !replaced {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b Gateway) int {
		return strings.Compare(a.Project+"\x00"+a.Cluster, b.Project+"\x00"+b.Cluster)
	})
	return all, nil
}

func (p *Publisher) containers(ctx context.Context, cluster string) ([]docker.Container, error) {
	labels := []string{model.LabelGateway}
	if cluster != "" {
		labels = append(labels, model.LabelCluster+"="+cluster)
	}
	return p.engine.Containers(ctx, labels...)
}

// read learns what a gateway's container knows of itself.
func (p *Publisher) read(ctx context.Context, c docker.Container) (Gateway, error) {
	raw, err := p.engine.ReadFile(ctx, c.ID, configPath)
	if ctx.Err() != nil {
		return Gateway{}, context.Cause(ctx)
	}
	if err != nil { // made halfway, or just going: its labels must do
		raw = nil
	}
	return gatewayOf(c, raw), nil
}

func isOf(c docker.Container, project string) bool { return c.Labels[model.LabelGateway] == project }

func (p *Publisher) remove(ctx context.Context, g Gateway) error {
	if err := p.engine.RemoveContainer(ctx, g.id); err != nil {
		return problem.New(fmt.Sprintf("remove the gateway %q of project %q", g.Name, g.Project), err, "docker rm -f "+g.Name)
	}
	return p.gone(ctx, g)
}

// gone waits until the engine has let go of the container, which it may be
// doing for somebody else, and of the ports.
func (p *Publisher) gone(ctx context.Context, g Gateway) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, problem.New(fmt.Sprintf("remove the gateway %q of project %q", g.Name, g.Project),
		errors.New("the engine has not let go of it within 20 s"), "run the command again; if the engine hangs, restart it"))
	defer cancel()
	for {
		found, err := p.containers(ctx, g.Cluster)
		if err != nil {
			return err
		}
		there := slices.ContainsFunc(found, func(c docker.Container) bool { return c.ID == g.id })
		held := slices.ContainsFunc(g.slots, func(s slot) bool { return !p.free(ctx, s) })
		if !there && (!held || !g.Running) { // one that did not run never held them: somebody else does
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// clusterFacts is what publishing needs to know of a cluster.
type clusterFacts struct {
	nodes   []string // names of the node containers, which DNS of the network knows
	network string
	image   string
}

func (p *Publisher) cluster(ctx context.Context, name string) (clusterFacts, error) {
	found, err := p.engine.Containers(ctx, "io.x-k8s.kind.cluster="+name)
	if err != nil {
		return clusterFacts{}, err
	}
	var facts clusterFacts
	for _, c := range found {
		if role := c.Labels["io.x-k8s.kind.role"]; role != "control-plane" && role != "worker" {
			continue
		}
		facts.nodes = append(facts.nodes, c.Name)
		facts.image = c.Image
		for network := range c.IPs { // of the running ones; kind gives each node one network
			facts.network = network
		}
	}
	switch {
	case len(facts.nodes) == 0:
		return facts, problem.New(fmt.Sprintf("publish ports into cluster %q", name), errors.New("it has no nodes in this engine"), "berth cluster create "+name)
	case facts.network == "":
		return facts, problem.New(fmt.Sprintf("publish ports into cluster %q", name), errors.New("none of its nodes runs"), "berth cluster start "+name)
	}
	return facts, nil
}
