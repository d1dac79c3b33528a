package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// healthy is a machine without any finding; tests spoil one thing each.
func healthy() (Machine, *docker.Host) {
	host := &docker.Host{
		Local: true, Memory: 16 << 30, FreeMemory: 12 << 30, SysResource: true, StorageRoot: "/var/lib/docker",
		Version: "29.0.0", API: "1.52", Architecture: "x86_64", BuildKit: true, Snapshotter: true,
	}
	files := map[string]string{
		"/proc/sys/fs/inotify/max_user_instances": "8192\n",
		"/proc/sys/fs/inotify/max_user_watches":   "1048576\n",
	}
	return Machine{
		Host:       func(context.Context) (docker.Host, error) { return *host, nil },
		PortHolder: func(context.Context, int) (string, error) { return "", nil },
		StandIns:   func(context.Context) ([]string, error) { return nil, nil },
		NodeImage:  func(context.Context) (string, bool, error) { return "kindest/node:v1.37.0", true, nil },
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		ReadFile: func(path string) ([]byte, error) { return []byte(files[path]), nil },
		FreeDisk: func(string) (uint64, error) { return 100 << 30, nil },
		LookPath: func(string) (string, error) { return "/usr/bin/docker", nil },
	}, host
}

func finding(t *testing.T, results []Result, name string) Finding {
	t.Helper()
	for _, r := range results {
		if r.Name == name {
			return r.Finding
		}
	}
	t.Fatalf("there is no check %q", name)
	return Finding{}
}

func TestAHealthyMachineHasNoFinding(t *testing.T) {
	m, _ := healthy()
	results := Run(t.Context(), m.Checks())
	for _, r := range results {
		if r.Verdict != OK || r.Reason == "" {
			t.Errorf("%s: %s, %q", r.Name, r.Verdict, r.Reason)
		}
	}
	if err := Blocked(results); err != nil {
		t.Error(err)
	}
}

func TestEveryTroubleOfTheMachineHasItsVerdictAndCure(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil   func(*Machine, *docker.Host)
		check   string
		verdict Verdict
		reason  string
	}{
		"no engine": {func(m *Machine, _ *docker.Host) {
			m.Host = func(context.Context) (docker.Host, error) {
				return docker.Host{}, problem.New("connect to the Docker Engine", errors.New("no such file"), "start Docker")
			}
		}, "engine", Block, "no such file"},
		"no docker command": {func(m *Machine, _ *docker.Host) {
			m.LookPath = func(p string) (string, error) { return "", &exec.Error{Name: p, Err: exec.ErrNotFound} }
		}, "docker command", Block, "docker: executable file not found"},
		"old engine":          {func(_ *Machine, h *docker.Host) { h.API = "1.40" }, "engine API", Block, "API 1.40"},
		"rootless":            {func(_ *Machine, h *docker.Host) { h.Rootless = true }, "engine", Warn, "rootless"},
		"classic image store": {func(_ *Machine, h *docker.Host) { h.Snapshotter = false }, "image store", Warn, "classic"},
		"no BuildKit":         {func(_ *Machine, h *docker.Host) { h.BuildKit = false }, "BuildKit", Warn, "cache mounts"},
		"cgroup v1":           {func(_ *Machine, h *docker.Host) { h.CgroupV1 = true }, "cgroup version", Warn, "version 1"},
		"no CAP_SYS_RESOURCE": {func(_ *Machine, h *docker.Host) { h.SysResource = false }, "capabilities", Warn, "CAP_SYS_RESOURCE"},
		"little memory":       {func(_ *Machine, h *docker.Host) { h.FreeMemory = 3 << 30 }, "memory", Warn, "3072 MiB"},
		"no memory":           {func(_ *Machine, h *docker.Host) { h.FreeMemory = 1 << 30 }, "memory", Block, "1024 MiB"},
		"little disk": {func(m *Machine, _ *docker.Host) {
			m.FreeDisk = func(string) (uint64, error) { return 10 << 30, nil }
		}, "disk", Warn, "10 GiB"},
		"no disk": {func(m *Machine, _ *docker.Host) {
			m.FreeDisk = func(string) (uint64, error) { return 1 << 30, nil }
		}, "disk", Block, "1 GiB"},
		"low inotify limits": {func(m *Machine, _ *docker.Host) {
			m.ReadFile = func(string) ([]byte, error) { return []byte("128\n"), nil }
		}, "inotify limits", Warn, "128 instances"},
		"port taken": {func(m *Machine, _ *docker.Host) {
			m.PortHolder = func(_ context.Context, port int) (string, error) {
				return map[int]string{80: "nginx (pid 7)"}[port], nil
			}
		}, "port 80", Warn, "taken by nginx (pid 7)"},
		"resolver": {func(m *Machine, _ *docker.Host) {
			m.Lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		}, "*.localhost", Warn, "does not know"},
		"node image missing": {func(m *Machine, _ *docker.Host) {
			m.NodeImage = func(context.Context) (string, bool, error) { return "kindest/node:v1.37.0", false, nil }
		}, "node image", Warn, "is not in the engine"},
		"stand-ins": {func(m *Machine, _ *docker.Host) {
			m.StandIns = func(context.Context) ([]string, error) { return []string{"redis:7", "node:22"}, nil }
		}, "base images", Warn, "2 are stand-ins"},
	} {
		t.Run(name, func(t *testing.T) {
			m, host := healthy()
			tc.spoil(&m, host)
			results := Run(t.Context(), m.Checks())
			got := finding(t, results, tc.check)
			if got.Verdict != tc.verdict || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("got %s: %s", got.Verdict, got.Reason)
			}
			if got.Cure == "" {
				t.Error("there is no cure")
			}
			if blocked := Blocked(results) != nil; blocked != (tc.verdict == Block) {
				t.Errorf("blocked: %v", blocked)
			}
		})
	}
}

func TestTheClustersOwnPortIsNoTrouble(t *testing.T) {
	m, _ := healthy()
	m.PortHolder = func(context.Context, int) (string, error) { return `container "berth-control-plane"`, nil }
	m.OwnPorts = []int{80, 443}
	results := Run(t.Context(), m.Checks())
	for _, name := range []string{"port 80", "port 443"} {
		if f := finding(t, results, name); f.Verdict != OK {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestFactsOfAnotherMachineAreNotMadeUp(t *testing.T) {
	m, host := healthy()
	host.Local = false
	results := Run(t.Context(), m.Checks())
	for _, name := range []string{"disk", "inotify limits"} {
		if f := finding(t, results, name); f.Verdict != Skip {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// healthyCluster is a cluster without any finding.
func healthyCluster() (Cluster, *ClusterFacts, *Objects) {
	ready := func(name string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}}
	}
	facts := &ClusterFacts{Name: "berth", State: "running", Owned: true, HTTPPort: 80}
	objects := &Objects{
		Nodes:          []corev1.Node{ready("berth-control-plane"), ready("berth-worker")},
		DNS:            []appsv1.Deployment{{ObjectMeta: metav1.ObjectMeta{Name: "coredns"}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(2))}, Status: appsv1.DeploymentStatus{AvailableReplicas: 2}}},
		SystemDaemons:  []appsv1.DaemonSet{{ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy"}}, {ObjectMeta: metav1.ObjectMeta{Name: "kindnet"}}},
		IngressClasses: []networkingv1.IngressClass{{ObjectMeta: metav1.ObjectMeta{Name: "nginx"}}},
	}
	return Cluster{
		Facts:   func(context.Context) (ClusterFacts, error) { return *facts, nil },
		Read:    func(context.Context) (Objects, error) { return *objects, nil },
		Answers: func(context.Context, int) bool { return true },
	}, facts, objects
}

func TestEveryTroubleOfTheClusterHasItsVerdict(t *testing.T) {
	incomplete := problem.New(`cluster "berth" is not whole`, errors.New("node is gone: berth-worker"), "berth cluster delete berth")
	for name, tc := range map[string]struct {
		spoil   func(*Cluster, *ClusterFacts, *Objects)
		check   string
		verdict Verdict
		reason  string
	}{
		"healthy":    {func(*Cluster, *ClusterFacts, *Objects) {}, "cluster", OK, `"berth" answers`},
		"absent":     {func(_ *Cluster, f *ClusterFacts, _ *Objects) { f.State = "absent" }, "cluster", OK, "there is no cluster"},
		"incomplete": {func(_ *Cluster, f *ClusterFacts, _ *Objects) { f.State, f.Err = "incomplete", incomplete }, "cluster", Block, "node is gone"},
		"API server silent": {func(c *Cluster, _ *ClusterFacts, _ *Objects) {
			c.Read = func(context.Context) (Objects, error) { return Objects{}, errors.New("connection refused") }
		}, "cluster", Block, "connection refused"},
		"somebody else's": {func(_ *Cluster, f *ClusterFacts, _ *Objects) { f.Owned = false }, "cluster", Warn, "did not create"},
		"a node lost":     {func(_ *Cluster, _ *ClusterFacts, o *Objects) { o.Nodes[1].Status.Conditions = nil }, "nodes", Warn, "berth-worker"},
		"all nodes lost": {func(_ *Cluster, _ *ClusterFacts, o *Objects) {
			o.Nodes[0].Status.Conditions, o.Nodes[1].Status.Conditions = nil, nil
		}, "nodes", Block, "none of 2"},
		"DNS down":    {func(_ *Cluster, _ *ClusterFacts, o *Objects) { o.DNS[0].Status.AvailableReplicas = 0 }, "cluster DNS", Block, "coredns"},
		"DNS half up": {func(_ *Cluster, _ *ClusterFacts, o *Objects) { o.DNS[0].Status.AvailableReplicas = 1 }, "cluster DNS", Warn, "1 of 2"},
		"no ingress":  {func(_ *Cluster, _ *ClusterFacts, o *Objects) { o.IngressClasses = nil }, "ingress", Warn, "no controller"},
		"not serving": {func(c *Cluster, _ *ClusterFacts, _ *Objects) {
			c.Answers = func(context.Context, int) bool { return false }
		}, "ingress", Warn, "nothing answers"},
		"not enforced": {func(_ *Cluster, _ *ClusterFacts, o *Objects) { o.SystemDaemons = o.SystemDaemons[:1] }, "NetworkPolicy", Warn, "nothing that is known"},
		"enforced":     {func(*Cluster, *ClusterFacts, *Objects) {}, "NetworkPolicy", OK, "kindnet"},
		"stopped":      {func(_ *Cluster, f *ClusterFacts, _ *Objects) { f.State = "stopped" }, "nodes", Skip, "no cluster runs"},
	} {
		t.Run(name, func(t *testing.T) {
			c, facts, objects := healthyCluster()
			tc.spoil(&c, facts, objects)
			got := finding(t, Run(t.Context(), c.Checks()), tc.check)
			if got.Verdict != tc.verdict || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("got %s: %s", got.Verdict, got.Reason)
			}
		})
	}
}

func TestVersionsAreComparedAsNumbers(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"1.40", "1.41", true}, {"1.41", "1.41", false}, {"1.5", "1.41", true}, {"2.0", "1.41", false}} {
		if got := versionLess(tc.a, tc.b); got != tc.want {
			t.Errorf("%s < %s: %v", tc.a, tc.b, got)
		}
	}
}
