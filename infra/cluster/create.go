package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A Target is a cluster whose API server answers, as a Step sees it.
type Target struct {
	Name       string
	Context    string
	Kubeconfig string // file with this cluster's context; gone when the step has returned
	NodeImage  string
	HTTPPort   int // ports of 127.0.0.1 that lead to 80 and 443 of the node with IngressLabel
	HTTPSPort  int
	Ingress    string // of the Spec the cluster was created from
}

// A Step is work that needs no more than the API server. Create runs it beside
// kind's remaining work, and again, since it may have been interrupted, when
// the cluster exists already.
type Step func(ctx context.Context, t Target) error

// phaseControlPlane is what kind calls the phase after which the API server
// answers to an administrator.
const phaseControlPlane = "starting control-plane"

// Create makes the cluster of s, or brings one that exists already (stopped,
// or left by a creation that was interrupted) to the same end: all nodes, DNS
// and storage ready, step done. Processes that create the same cluster wait
// for each other. After ctx ends nothing is left of a cluster that did not
// come to be. step may be nil.
func (m *Manager) Create(ctx context.Context, s Spec, sink progress.Sink, step Step) (Info, error) {
	if err := s.Check(); err != nil {
		return Info{}, err
	}
	if s.Name == "" {
		s.Name = DefaultName
	}
	n := &narrator{task: progress.Start(sink, "cluster "+s.Name, "looking at the engine")}
	n.say("looking at the engine")
	defer n.beat()()
	info, err := m.create(ctx, s, n, sink, step)
	return info, n.task.End(err, fmt.Sprintf("%d nodes, Kubernetes %s, context %s", len(info.Nodes), info.Kubernetes, info.Context))
}

func (m *Manager) create(ctx context.Context, s Spec, n *narrator, sink progress.Sink, step Step) (_ Info, err error) {
	lock, err := m.acquire(ctx, s.Name, n.task)
	if err != nil {
		return Info{}, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	n.say("looking at the engine")
	host, err := m.engine.HostFacts(ctx)
	if err != nil {
		return Info{}, err
	}
	nodes, err := m.Nodes(ctx, s.Name)
	if err != nil {
		return Info{}, err
	}
	rec, err := m.readRecord(ctx, nodes)
	if err != nil {
		return Info{}, err
	}
	info := describe(s.Name, nodes, rec)
	switch {
	case info.State == Absent:
	case m.leftover(ctx, info, lock.was, host.EngineID):
		n.say("removing what an interrupted command left")
		if err := m.clear(ctx, s.Name); err != nil {
			return Info{}, err
		}
	case rec == nil:
		return info, problem.New(fmt.Sprintf("create cluster %q", s.Name),
			errors.New("a kind cluster of that name exists that berth did not create"),
			fmt.Sprintf("choose another name, or remove it: kind delete cluster --name %s", s.Name))
	default:
		return m.resume(ctx, s, info, lock, n, sink, step)
	}
	s, config, err := m.prepare(ctx, s, host, n, sink)
	if err != nil {
		return Info{}, err
	}
	if err := lock.note(intent{Engine: host.EngineID, Unfinished: true}); err != nil {
		return Info{}, err
	}
	if err := m.fresh(ctx, s, config, lock, n, step); err != nil {
		return Info{}, err
	}
	info, err = m.finished(ctx, s.Name, lock)
	info.New = true
	return info, err
}

// finished notes that nothing is left to do.
func (m *Manager) finished(ctx context.Context, name string, l *lock) (Info, error) {
	if err := l.note(intent{}); err != nil {
		return Info{}, err
	}
	return m.Status(ctx, name)
}

// leftover reports whether the nodes are what an interrupted creation or
// deletion of berth's left, by the lock file's word: on this engine, and not
// made long after.
func (m *Manager) leftover(ctx context.Context, info Info, was intent, engineID string) bool {
	if !was.Unfinished || was.Engine != engineID {
		return false
	}
	if info.Owned {
		return info.State == Incomplete // a deletion; a whole cluster lacks only the end of its creation
	}
	const longest = 15 * time.Minute // that a creation can take until kind has made the last node
	containers, err := m.engine.Containers(ctx, labelCluster+"="+info.Name)
	if err != nil {
		return false
	}
	for _, c := range containers {
		if c.Created.Before(was.Since.Add(-time.Minute)) || c.Created.After(was.Since.Add(longest)) {
			return false
		}
	}
	return true
}

// prepare settles everything that can be settled before kind begins.
func (m *Manager) prepare(ctx context.Context, s Spec, host docker.Host, n *narrator, sink progress.Sink) (Spec, *v1alpha4.Cluster, error) {
	s, err := s.withDefaults()
	if err != nil {
		return s, nil, err
	}
	if err := checkMemory(s, host); err != nil {
		return s, nil, err
	}
	running, err := m.engine.Containers(ctx, labelCluster)
	if err != nil {
		return s, nil, err
	}
	if err := ensureInotify(inotifyLimit(), s, host, len(running), sink); err != nil {
		return s, nil, err
	}
	if s, err = settlePorts(ctx, s, host, m.portHolder, sink); err != nil {
		return s, nil, err
	}
	if err := checkMounts(s, host); err != nil {
		return s, nil, err
	}
	var kubernetes *version.Version
	if s, kubernetes, err = m.chooseImage(ctx, s, n); err != nil {
		return s, nil, err
	}
	if err := m.needLoadBalancer(ctx, s, n); err != nil {
		return s, nil, err
	}
	config, err := kindConfig(s, kubernetes, hostFacts{cgroupV1: host.CgroupV1, noSysResource: !host.SysResource})
	return s, config, err
}

// fresh has kind create the cluster. What needs no more than the API server,
// the step and the wait for everything to be ready, begins beside kind's
// remaining work.
func (m *Manager) fresh(ctx context.Context, s Spec, config *v1alpha4.Cluster, l *lock, n *narrator, step Step) error {
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	answers, ended := make(chan struct{}), make(chan struct{})
	var open sync.Once
	result := make(chan error, 1)
	go func() {
		select {
		case <-answers:
			result <- m.complete(beside, s, nil, n, ended, step)
		case <-beside.Done():
			result <- beside.Err()
		}
	}()
	err := m.runKind(ctx, s, config, l.was.Unfinished, kindLogger{narrator: n, done: func(phase string) {
		if phase == phaseControlPlane {
			open.Do(func() { close(answers) })
		}
	}})
	if err != nil {
		cancel()
		err = errors.Join(err, ignoreCancelled(<-result))
		left, listErr := m.Nodes(context.WithoutCancel(ctx), s.Name)
		if listErr == nil && len(left) == 0 {
			err = errors.Join(err, l.note(intent{}))
		}
		return err
	}
	open.Do(func() { close(answers) }) // at the latest
	close(ended)
	n.say("waiting until it is ready")
	r := record{Spec: s, Kubernetes: s.KubernetesVersion, Nodes: s.nodeNames(), Created: time.Now()}
	if err := m.writeRecord(ctx, r); err != nil {
		cancel()
		return errors.Join(err, <-result)
	}
	return <-result
}

// complete runs the step and waits until the cluster can be used. It needs the
// API server alone; until ended is closed, what kind is doing is what the user
// is told. started names nodes that have just been started again.
func (m *Manager) complete(ctx context.Context, s Spec, started map[string]time.Time, n *narrator, ended <-chan struct{}, step Step) (err error) {
	path, remove, err := m.tempKubeconfig(ctx, s.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stepped := make(chan error, 1)
	go func() {
		if step == nil {
			stepped <- nil
			return
		}
		stepped <- whenAnswering(ctx, step, Target{
			Name: s.Name, Context: Context(s.Name), Kubeconfig: path, NodeImage: s.NodeImage,
			HTTPPort: s.HTTPPort, HTTPSPort: s.HTTPSPort, Ingress: s.Ingress,
		})
	}()
	b := newBoard(n, ended)
	if err := m.waitReady(ctx, s, started, path, b); err != nil {
		cancel()
		return errors.Join(err, ignoreCancelled(<-stepped))
	}
	select {
	case err := <-stepped:
		return err
	default:
		b.set(0, "the ingress")
		return <-stepped
	}
}

// whenAnswering runs the step once the API server is ready: one that has just
// been started answers before it knows who may do what.
func whenAnswering(ctx context.Context, step Step, t Target) error {
	client, err := kube.New(t.Kubeconfig, "")
	if err != nil {
		return err
	}
	if err := awaitAPI(ctx, client); err != nil {
		return err
	}
	return step(ctx, t)
}

// ignoreCancelled drops the error of work that was called off.
func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// resume brings a cluster of berth's that exists to the end of Create.
func (m *Manager) resume(ctx context.Context, s Spec, info Info, l *lock, n *narrator, sink progress.Sink, step Step) (Info, error) {
	if differences := s.differences(*info.Spec); len(differences) > 0 {
		return info, problem.New(fmt.Sprintf("cluster %q exists with other settings", s.Name),
			errors.New(strings.Join(differences, "; ")),
			fmt.Sprintf("settings cannot be changed afterwards: `berth cluster delete %s` first, or choose another name", s.Name))
	}
	if info.State == Incomplete {
		return info, info.Err()
	}
	if l.was.Unfinished { // perhaps not every node has it
		r := record{Spec: *info.Spec, Kubernetes: info.Kubernetes, Nodes: info.Spec.nodeNames(), Created: time.Now()}
		if err := m.writeRecord(ctx, r); err != nil {
			return info, err
		}
	}
	if l.was.Restoring != "" {
		if err := m.restore(ctx, s.Name, l.was.Restoring, n, l, sink); err != nil {
			return info, err
		}
	}
	nodes, err := m.Nodes(ctx, s.Name)
	if err != nil {
		return info, err
	}
	started, err := m.startNodes(ctx, nodes, n)
	if err != nil {
		return info, err
	}
	if err := m.export(ctx, s.Name); err != nil {
		return info, err
	}
	if err := m.complete(ctx, *info.Spec, started, n, now(), step); err != nil {
		return info, err
	}
	info, err = m.finished(ctx, s.Name, l)
	info.New = l.was.Unfinished
	return info, err
}
