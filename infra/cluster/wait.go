package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
)

// readyTimeout is how long the nodes, DNS and storage of a cluster may take
// from the moment kind is done.
const readyTimeout = 4 * time.Minute

// waitReady returns when every node is ready, cluster DNS answers and the
// default storage class has its provisioner. Of nodes that were started since a
// given time it wants to hear anew. kubeconfig is a file.
func (m *Manager) waitReady(ctx context.Context, s Spec, since map[string]time.Time, kubeconfig string, b *board) error {
	var names []string
	for _, name := range s.nodeNames() {
		if !strings.HasSuffix(name, roleLoadBalancer) {
			names = append(names, name)
		}
	}
	return wait(ctx, s.Name, kubeconfig, b, func(c *kube.Client) []condition {
		return []condition{
			nodesReady(c, names),
			podsRestarted(c, since),
			deploymentsReady(c, "DNS", "kube-system", "k8s-app=kube-dns", 1),
			deploymentsReady(c, "storage", "local-path-storage", "", 0),
			defaultStorageClass(c),
		}
	})
}

// A condition blocks until it holds and reports what it still lacks. It
// returns early only with an error.
type condition func(ctx context.Context, lacks func(string)) error

func wait(ctx context.Context, cluster, kubeconfig string, b *board, conditions func(*kube.Client) []condition) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("it takes too long"))
	defer cancel()
	client, err := kube.New(kubeconfig, "")
	if err != nil {
		return err
	}
	b.set(0, "the API server")
	if err := awaitAPI(ctx, client); err != nil {
		return problem.New(fmt.Sprintf("wait for the API server of cluster %q", cluster), err, "docker logs "+cluster+"-control-plane")
	}
	b.set(0, "")
	err = b.all(ctx, conditions(client))
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), ctx.Err()) {
		return problem.New(fmt.Sprintf("wait for cluster %q", cluster), fmt.Errorf("%w: %s", context.Cause(ctx), b.text()),
			"`berth doctor` looks for the usual causes")
	}
	return err
}

// awaitAPI polls the API server until it is ready; after a start of its node
// nothing else tells.
func awaitAPI(ctx context.Context, client *kube.Client) error {
	for {
		err := client.Ready(ctx)
		if err == nil {
			return nil
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// A board collects what several conditions lack, for one line of progress. It
// is silent until quiet is closed.
type board struct {
	narrator *narrator
	quiet    <-chan struct{}
	mu       sync.Mutex
	lacks    map[int]string // by condition; 0 is what comes before and after them
}

func newBoard(n *narrator, quiet <-chan struct{}) *board {
	return &board{narrator: n, quiet: quiet, lacks: map[int]string{}}
}

// all waits for every condition at once.
func (b *board) all(ctx context.Context, conditions []condition) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(conditions))
	for i, c := range conditions {
		go func() {
			errs <- c(ctx, func(what string) { b.set(i+1, what) })
		}()
	}
	var first error
	for range conditions {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// set notes what condition i lacks, "" when it holds.
func (b *board) set(i int, what string) {
	b.mu.Lock()
	changed := b.lacks[i] != what
	b.lacks[i] = what
	b.mu.Unlock()
	select {
	case <-b.quiet:
		if text := b.text(); changed && text != "" {
			b.narrator.say("waiting for " + text)
		}
	default:
	}
}

func (b *board) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, i := range slices.Sorted(maps.Keys(b.lacks)) {
		if what := b.lacks[i]; what != "" {
			all = append(all, what)
		}
	}
	return strings.Join(all, ", ")
}

// nodesReady holds when every named node is Ready.
func nodesReady(c *kube.Client, names []string) condition {
	return func(ctx context.Context, lacks func(string)) error {
		return until(ctx, c, "", "", lacks, func(nodes map[string]*corev1.Node) string {
			var not []string
			for _, name := range names {
				if n := nodes["/"+name]; n == nil || !nodeReady(n) {
					not = append(not, name)
				}
			}
			return joined("node ", not)
		})
	}
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// podsRestarted holds when every pod of kube-system on the nodes that were
// started runs and is ready since then. Until a kubelet reports, the API server
// goes on showing what was before.
func podsRestarted(c *kube.Client, since map[string]time.Time) condition {
	return func(ctx context.Context, lacks func(string)) error {
		if len(since) == 0 {
			return nil
		}
		return until(ctx, c, "kube-system", "", lacks, func(pods map[string]*corev1.Pod) string {
			silent := maps.Clone(since)
			for _, p := range pods {
				delete(silent, p.Spec.NodeName)
			}
			not := slices.Sorted(maps.Keys(silent))
			for _, p := range pods {
				if at, started := since[p.Spec.NodeName]; started && p.DeletionTimestamp == nil && !readySince(p, at) {
					not = append(not, p.Name)
				}
			}
			slices.Sort(not)
			return joined("", not)
		})
	}
}

// readySince reports whether a pod is ready and its containers were started
// after a time; Kubernetes' times are whole seconds.
func readySince(p *corev1.Pod, at time.Time) bool {
	ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	return ready && !slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running == nil || s.State.Running.StartedAt.Time.Before(at.Truncate(time.Second))
	})
}

// deploymentsReady holds when at least atLeast Deployments match and all their
// replicas are available.
func deploymentsReady(c *kube.Client, what, namespace, selector string, atLeast int) condition {
	return func(ctx context.Context, lacks func(string)) error {
		return until(ctx, c, namespace, selector, lacks, func(found map[string]*appsv1.Deployment) string {
			if len(found) < atLeast {
				return what
			}
			for _, d := range found {
				if d.Status.ObservedGeneration < d.Generation || d.Spec.Replicas == nil || d.Status.AvailableReplicas < *d.Spec.Replicas {
					return what
				}
			}
			return ""
		})
	}
}

// defaultStorageClass holds when a storage class is the default one.
func defaultStorageClass(c *kube.Client) condition {
	return func(ctx context.Context, lacks func(string)) error {
		return until(ctx, c, "", "", lacks, func(classes map[string]*storagev1.StorageClass) string {
			for _, class := range classes {
				if class.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
					return ""
				}
			}
			return "a default storage class"
		})
	}
}

// until watches objects until check, given all of them by namespace/name, says
// that nothing is lacking.
func until[T any, P kube.Typed[T]](ctx context.Context, c *kube.Client, namespace, selector string,
	lacks func(string), check func(map[string]P) string,
) error {
	watch, met := context.WithCancel(ctx)
	defer met()
	seen, synced, done := map[string]P{}, false, false
	err := kube.Watch(watch, c, namespace, selector, func(change kube.Change[P]) {
		switch {
		case change.Err != nil:
			lacks("the API server")
			return
		case change.Synced:
			synced = true
		case change.Deleted:
			delete(seen, change.Object.GetNamespace()+"/"+change.Object.GetName())
		default:
			seen[change.Object.GetNamespace()+"/"+change.Object.GetName()] = change.Object
		}
		if !synced {
			return
		}
		what := check(seen)
		lacks(what)
		if what == "" {
			done = true
			met()
		}
	})
	if done {
		return nil
	}
	return err
}

func joined(what string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return what + strings.Join(names, ", ")
}
