package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/exec"

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
	if _, err := s.withDefaults(); err != nil {
		return Info{}, err
	}
	if s.Name == "" {
		s.Name = DefaultName
	}
	n := &narrator{task: progress.Start(sink, "cluster "+s.Name, "looking at the engine")}
	n.say("looking at the engine")
	defer n.beat()()
	info, err := m.create(ctx, s, n, sink, step)
	if err != nil {
		n.task.Fail(err)
		return info, err
	}
	n.task.Done(fmt.Sprintf("%d nodes, Kubernetes %s, context %s", len(info.Nodes), info.Kubernetes, info.Context))
	return info, nil
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
		return m.resume(ctx, s, info, lock, n, step)
	}
	return m.fresh(ctx, s, hostAndLock{hostFacts{host.CgroupV1, !host.SysResource}, host.EngineID, lock}, n, sink, step)
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

type hostAndLock struct {
	facts    hostFacts
	engineID string
	lock     *lock
}

// fresh creates a cluster of which nothing exists.
func (m *Manager) fresh(ctx context.Context, s Spec, h hostAndLock, n *narrator, sink progress.Sink, step Step) (Info, error) {
	s, config, err := m.prepare(ctx, s, h.facts, n, sink)
	if err != nil {
		return Info{}, err
	}
	if err := h.lock.note(intent{Engine: h.engineID, Unfinished: true}); err != nil {
		return Info{}, err
	}
	early, open := context.WithCancel(ctx)
	defer open()
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var stepErr error
	group.Go(func() {
		<-early.Done()
		if beside.Err() == nil {
			stepErr = m.runStep(beside, s, step)
		}
	})
	defer group.Wait()
	logger := kindLogger{narrator: n, done: func(phase string) {
		if phase == phaseControlPlane {
			open()
		}
	}}
	if err := m.runKind(ctx, s, config, logger); err != nil {
		cancel()
		open()
		left, listErr := m.Nodes(context.WithoutCancel(ctx), s.Name)
		if listErr == nil && len(left) == 0 {
			err = errors.Join(err, h.lock.note(intent{}))
		}
		return Info{}, err
	}
	open() // at the latest
	if err := m.finish(ctx, s, n); err != nil {
		cancel()
		return Info{}, err
	}
	group.Wait()
	if stepErr != nil {
		return Info{}, stepErr
	}
	if err := h.lock.note(intent{}); err != nil {
		return Info{}, err
	}
	return m.Status(ctx, s.Name)
}

// prepare settles everything that can be settled before kind begins.
func (m *Manager) prepare(ctx context.Context, s Spec, facts hostFacts, n *narrator, sink progress.Sink) (Spec, *v1alpha4.Cluster, error) {
	s, err := s.withDefaults()
	if err != nil {
		return s, nil, err
	}
	host, err := m.engine.HostFacts(ctx)
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
	for _, mount := range s.Mounts {
		if _, err := os.Stat(mount.Source); err != nil {
			return s, nil, problem.New(fmt.Sprintf("mount %q in the nodes", mount.Source), err, "make the directory first, or correct --mount")
		}
	}
	var kubernetes *version.Version
	if s, kubernetes, err = m.chooseImage(ctx, s, n); err != nil {
		return s, nil, err
	}
	if err := m.needLoadBalancer(ctx, s, n); err != nil {
		return s, nil, err
	}
	config, err := kindConfig(s, kubernetes, facts)
	return s, config, err
}

// finish notes that kind is done and waits until the cluster can be used.
func (m *Manager) finish(ctx context.Context, s Spec, n *narrator) error {
	r := record{Spec: s, Kubernetes: s.KubernetesVersion, Nodes: s.nodeNames(), Created: time.Now()}
	if err := m.writeRecord(ctx, r); err != nil {
		return err
	}
	return m.waitReady(ctx, s, n)
}

// resume brings a cluster of berth's that exists to the end of Create.
func (m *Manager) resume(ctx context.Context, s Spec, info Info, l *lock, n *narrator, step Step) (Info, error) {
	if differences := s.differences(*info.Spec); len(differences) > 0 {
		return info, problem.New(fmt.Sprintf("cluster %q exists with other settings", s.Name),
			errors.New(strings.Join(differences, "; ")),
			fmt.Sprintf("settings cannot be changed afterwards: `berth cluster delete %s` first, or choose another name", s.Name))
	}
	if info.State == Incomplete {
		return info, info.Err()
	}
	if err := m.startNodes(ctx, info.Nodes, n); err != nil {
		return info, err
	}
	var group sync.WaitGroup
	var stepErr error
	beside, cancel := context.WithCancel(ctx)
	group.Go(func() { stepErr = m.runStep(beside, *info.Spec, step) })
	var err error
	if l.was.Unfinished {
		err = m.finish(ctx, *info.Spec, n)
	} else {
		err = m.waitReady(ctx, *info.Spec, n)
	}
	if err != nil {
		cancel()
	}
	group.Wait()
	cancel()
	if err = errors.Join(err, stepErr); err != nil {
		return info, err
	}
	if err := l.note(intent{}); err != nil {
		return info, err
	}
	return m.Status(ctx, s.Name)
}

// runStep hands the step a kubeconfig of its own: kind writes the user's only
// when it has ended.
func (m *Manager) runStep(ctx context.Context, s Spec, step Step) (err error) {
	if step == nil {
		return nil
	}
	path, remove, err := m.tempKubeconfig(ctx, s.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return step(ctx, Target{
		Name: s.Name, Context: Context(s.Name), Kubeconfig: path, NodeImage: s.NodeImage, HTTPPort: s.HTTPPort, HTTPSPort: s.HTTPSPort, Ingress: s.Ingress,
	})
}

// tempKubeconfig writes a cluster's kubeconfig to a new file.
func (m *Manager) tempKubeconfig(ctx context.Context, name string) (path string, remove func() error, err error) {
	text, err := m.Kubeconfig(ctx, name)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "berth-")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	path = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return path, remove, nil
}

// runKind has kind create the cluster. Leftovers of a killed berth may appear
// after they were looked for (its docker commands live on), so a name that is
// taken is cleared and tried again once.
func (m *Manager) runKind(ctx context.Context, s Spec, config *v1alpha4.Cluster, logger kindLogger) error {
	provider, err := m.provider(logger)
	if err != nil {
		return err
	}
	create := func() error {
		return provider.Create(s.Name, cluster.CreateWithV1Alpha4Config(config.DeepCopy()))
	}
	err = m.abandonable(ctx, s.Name, create)
	if err != nil && ctx.Err() == nil && strings.Contains(kindOutput(err), "is already in use by container") {
		logger.say("removing what an interrupted command left")
		if err := m.clear(ctx, s.Name); err != nil {
			return err
		}
		err = m.abandonable(ctx, s.Name, create)
	}
	if err != nil && ctx.Err() == nil {
		return createProblem(s, err)
	}
	return err
}

// abandonable runs an operation of kind's, which knows no context. When ctx
// ends, the nodes are taken from under it, which makes its docker commands
// fail; it returns only when kind has come to its end and no node is left.
func (m *Manager) abandonable(ctx context.Context, name string, op func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- op() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for {
		err := m.clear(clean, name)
		select {
		case <-ended:
			return errors.Join(ctx.Err(), m.clear(clean, name))
		case <-time.After(100 * time.Millisecond):
		}
		if clean.Err() != nil {
			return errors.Join(ctx.Err(), err, problem.New(fmt.Sprintf("clean up cluster %q", name), clean.Err(), "berth cluster delete "+name))
		}
	}
}

// kindOutput is what kind's error says, with the output of the command that
// failed.
func kindOutput(err error) string {
	text := err.Error()
	if run := exec.RunErrorForError(err); run != nil {
		text += "\n" + string(run.Output)
	}
	return text
}

// createProblem keeps the end of the failed command's output and knows some
// causes.
func createProblem(s Spec, err error) error {
	const keep = 15 // lines: kubeadm ends with its reason
	text := strings.TrimSpace(kindOutput(err))
	hint := "`berth doctor` looks for the usual causes"
	switch {
	case strings.Contains(text, "too many open files"):
		hint = "raise the inotify limits: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288"
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		hint = "choose other ports with --http-port and --https-port"
	case strings.Contains(text, "no space left on device"):
		hint = "free some disk space: docker system prune"
	}
	lines := strings.Split(text, "\n")
	if len(lines) > keep+1 {
		lines = append(lines[:1], lines[len(lines)-keep:]...)
	}
	return problem.New(fmt.Sprintf("create cluster %q", s.Name), errors.New(strings.Join(lines, "\n  ")), hint)
}
