package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Labels kind puts on node containers.
const (
	labelCluster = "io.x-k8s.kind.cluster"
	labelRole    = "io.x-k8s.kind.role"
)

// Roles of nodes. The load balancer, in front of several control planes, is no
// Kubernetes node.
const (
	roleControlPlane = "control-plane"
	roleWorker       = "worker"
	roleLoadBalancer = "external-load-balancer"
)

// A Manager works on the kind clusters of one engine. It is safe for
// concurrent use.
type Manager struct {
	engine      *docker.Client
	lockDir     string
	localImages []string
}

// New makes a Manager. lockDir is the directory for the files that serialise
// berth processes; it is made when needed and may be deleted while no cluster
// is being created. localImages names the offline kit's node images, best first:
// one of them is used where the engine holds it and not kind's own.
func New(engine *docker.Client, lockDir string, localImages ...string) *Manager {
	return &Manager{engine: engine, lockDir: lockDir, localImages: localImages}
}

// provider is kind's own handle. kind works through the docker command.
func (m *Manager) provider(logger log.Logger) (*cluster.Provider, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, problem.New("drive kind nodes", err,
			"install the docker command-line client (Debian and Ubuntu: docker-cli or docker.io)")
	}
	return cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(logger)), nil
}

// A Node is one node of a cluster: a container.
type Node struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`        // control-plane, worker, external-load-balancer
	State   string     `json:"state"`       // the container's: running, exited ...
	Status  string     `json:"status"`      // for people: Up 3 minutes
	IP      netip.Addr `json:"ip,omitzero"` // on the kind network; none while stopped
	Image   string     `json:"image"`       // node image
	ID      string     `json:"containerId"`
	ports   []docker.PortBinding
	running bool
}

// Running reports whether the node's container runs.
func (n Node) Running() bool { return n.running }

// frozen reports whether a command on checkpoints that was killed, or one that
// goes on, holds the node.
func (n Node) frozen() bool { return n.State == "paused" }

// Kubernetes reports whether the container is a node of Kubernetes, not the
// load balancer in front of several control planes.
func (n Node) Kubernetes() bool { return n.Role != roleLoadBalancer }

// Nodes lists the nodes of a cluster, control planes first, whatever state
// they are in. There are none when the cluster does not exist.
func (m *Manager) Nodes(ctx context.Context, name string) ([]Node, error) {
	containers, err := m.engine.Containers(ctx, labelCluster+"="+name)
	if err != nil {
		return nil, err
	}
	return nodesOf(containers), nil
}

func nodesOf(containers []docker.Container) []Node {
	nodes := make([]Node, 0, len(containers))
	for _, c := range containers {
		nodes = append(nodes, Node{
			Name: c.Name, Role: c.Labels[labelRole], State: c.State, Status: c.Status, IP: c.IPs["kind"],
			Image: c.Image, ID: c.ID, ports: c.Ports, running: c.Running(),
		})
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		if a.Role != b.Role {
			return strings.Compare(a.Role, b.Role) // control-plane, external-load-balancer, worker
		}
		return compareNodeNames(a.Name, b.Name)
	})
	return nodes
}

// compareNodeNames puts worker before worker2 before worker10.
func compareNodeNames(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// node finds one node of a cluster by its full name, or by what follows the
// cluster's name and a dash.
func (m *Manager) node(ctx context.Context, cluster, name string) (Node, error) {
	nodes, err := m.Nodes(ctx, cluster)
	if err != nil {
		return Node{}, err
	}
	if len(nodes) == 0 {
		return Node{}, absent(cluster)
	}
	var names []string
	for _, n := range nodes {
		if n.Name == name || n.Name == cluster+"-"+name {
			return n, nil
		}
		names = append(names, n.Name)
	}
	return Node{}, problem.New(fmt.Sprintf("cluster %q has no node %q", cluster, name), nil, "its nodes: "+strings.Join(names, ", "))
}

func absent(name string) error {
	return problem.New(fmt.Sprintf("there is no cluster %q", name), nil, "berth cluster create --name "+name)
}

// change runs one operation on a cluster: under its lock, as a task.
func (m *Manager) change(ctx context.Context, name, doing string, sink progress.Sink, op func(*narrator, *lock) (string, error)) (err error) {
	if err := CheckName(name); err != nil {
		return err
	}
	n := &narrator{task: progress.Start(sink, "cluster "+name, doing)}
	n.say(doing)
	defer n.beat()()
	l, err := m.acquire(ctx, name, n.task)
	if err != nil {
		return n.task.End(err, "")
	}
	defer func() { err = errors.Join(err, l.release()) }()
	n.say(doing)
	result, err := op(n, l)
	return n.task.End(err, result)
}
