package doctor

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/berth-dev/berth/infra/problem"
)

// ClusterFacts is what is known of the cluster from its containers.
type ClusterFacts struct {
	Name     string
	State    string // absent, running, partial, stopped, incomplete
	Err      error  // why it is not running, with its cure
	Owned    bool   // berth created it
	HTTPPort int    // of the ingress on 127.0.0.1; 0: none
}

// Objects is what the checks read through the API server.
type Objects struct {
	Nodes          []corev1.Node
	DNS            []appsv1.Deployment // of cluster DNS
	SystemDaemons  []appsv1.DaemonSet  // in kube-system
	IngressClasses []networkingv1.IngressClass
}

// A Cluster is where the checks of the cluster get their facts.
type Cluster struct {
	Facts func(ctx context.Context) (ClusterFacts, error)
	// Read asks the API server; its error says why it does not answer.
	Read func(ctx context.Context) (Objects, error)
	// Answers reports whether an HTTP server answers on a port of 127.0.0.1.
	Answers func(ctx context.Context, port int) bool
}

// Checks lists the checks of the cluster.
func (c Cluster) Checks() []Check {
	objects := func(check func(Objects) Finding) func(context.Context) Finding {
		return func(ctx context.Context) Finding {
			facts, err := c.Facts(ctx)
			if err != nil || facts.State != "running" {
				return skip("no cluster runs")
			}
			o, err := c.Read(ctx)
			if err != nil {
				return skip("the API server does not answer")
			}
			return check(o)
		}
	}
	return []Check{
		{"cluster", c.cluster},
		{"nodes", objects(nodes)},
		{"cluster DNS", objects(dns)},
		{"ingress", c.ingress},
		{"NetworkPolicy", objects(networkPolicy)},
	}
}

func (c Cluster) cluster(ctx context.Context) Finding {
	facts, err := c.Facts(ctx)
	if err != nil {
		return skip("%v", err)
	}
	switch {
	case facts.State == "absent":
		return ok("there is no cluster %q; `berth up` or `berth cluster create` makes it", facts.Name)
	case facts.Err != nil:
		return block(problem.Hint(facts.Err), "%v", facts.Err)
	}
	if _, err := c.Read(ctx); err != nil {
		return block(problem.Hint(err), "%v", err)
	}
	if !facts.Owned {
		return warn("create one with berth under another name: berth cluster create --name NAME",
			"%q answers, but berth did not create it: its kubelets lack berth's settings", facts.Name)
	}
	return ok("%q answers", facts.Name)
}

func nodes(o Objects) Finding {
	var not []string
	for _, n := range o.Nodes {
		ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if !ready {
			not = append(not, n.Name)
		}
	}
	if len(not) == len(o.Nodes) {
		return block("docker logs NODE; kubectl describe node NODE", "none of %d is ready", len(o.Nodes))
	}
	if len(not) > 0 {
		return warn("berth cluster node start NODE; kubectl describe node NODE", "not ready: %s", strings.Join(not, ", "))
	}
	return ok("all %d are ready", len(o.Nodes))
}

func dns(o Objects) Finding {
	for _, d := range o.DNS {
		switch {
		case d.Status.AvailableReplicas == 0:
			return block("kubectl -n kube-system describe pods -l k8s-app=kube-dns", "%s has no pod that answers: services cannot find each other", d.Name)
		case d.Spec.Replicas != nil && d.Status.AvailableReplicas < *d.Spec.Replicas:
			return warn("kubectl -n kube-system describe pods -l k8s-app=kube-dns", "%d of %d pods of %s answer", d.Status.AvailableReplicas, *d.Spec.Replicas, d.Name)
		}
	}
	if len(o.DNS) == 0 {
		return block("create the cluster again", "there is none: services cannot find each other")
	}
	return ok("answers")
}

func (c Cluster) ingress(ctx context.Context) Finding {
	facts, err := c.Facts(ctx)
	if err != nil || facts.State != "running" {
		return skip("no cluster runs")
	}
	if o, err := c.Read(ctx); err == nil && len(o.IngressClasses) == 0 {
		return warn("berth cluster create --name "+facts.Name+" installs one", "no controller is installed: only published ports lead to services")
	}
	if facts.HTTPPort == 0 {
		return warn("create the cluster with berth", "no port of this machine leads to it")
	}
	if !c.Answers(ctx, facts.HTTPPort) {
		return warn("kubectl get pods -A | grep -e traefik -e ingress-nginx", "nothing answers on http://127.0.0.1:%d", facts.HTTPPort)
	}
	return ok("answers on http://127.0.0.1:%d", facts.HTTPPort)
}

// enforcers are the daemons known to enforce NetworkPolicy.
var enforcers = []string{"berth-cni", "kindnet", "calico-node", "cilium", "kube-router", "antrea-agent", "kube-network-policies"}

func networkPolicy(o Objects) Finding {
	for _, d := range o.SystemDaemons {
		if slices.Contains(enforcers, d.Name) {
			return ok("enforced by %s", d.Name)
		}
	}
	return warn("names still resolve only between services with a common network",
		"nothing that is known to enforce it runs: services of different networks can reach each other by address")
}
