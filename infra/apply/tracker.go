package apply

import (
	"context"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// tracker keeps a snapshot up to date by watches. All waits of a project
// share one, however many services they wait for.
type tracker struct {
	cancel   context.CancelFunc
	watchers sync.WaitGroup
	users    int // guarded by Project.trackerMu

	mu      sync.Mutex
	state   *snapshot
	pending int           // watches that have not reported everything yet
	err     error         // of a watch that cannot go on
	broken  error         // of the last watch that broke and goes on; nil once one reports again
	changed chan struct{} // closed at the next change
}

// acquire returns the project's tracker, starting it for its first user.
// release must follow.
func (p *Project) acquire(ctx context.Context) *tracker {
	p.trackerMu.Lock()
	defer p.trackerMu.Unlock()
	if p.tracker == nil {
		// It outlives the first of several waits; release ends it.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		p.tracker = &tracker{cancel: cancel, state: newSnapshot(), changed: make(chan struct{})}
		p.tracker.state.marks = &p.marks
		p.tracker.start(ctx, p)
	}
	p.tracker.users++
	return p.tracker
}

func (p *Project) release(t *tracker) {
	p.trackerMu.Lock()
	t.users--
	last := t.users == 0
	if last && p.tracker == t {
		p.tracker = nil
	}
	p.trackerMu.Unlock()
	if last {
		t.cancel()
		t.watchers.Wait()
	}
}

func (t *tracker) start(ctx context.Context, p *Project) {
	s := t.state
	selector := model.LabelService
	follow(ctx, t, p, selector, s.deployments.put, s.deployments.drop, (*appsv1.Deployment)(nil))
	follow(ctx, t, p, selector, s.statefulSets.put, s.statefulSets.drop, (*appsv1.StatefulSet)(nil))
	follow(ctx, t, p, selector, s.daemonSets.put, s.daemonSets.drop, (*appsv1.DaemonSet)(nil))
	follow(ctx, t, p, selector, s.jobs.put, s.jobs.drop, (*batchv1.Job)(nil))
	follow(ctx, t, p, selector, s.cronJobs.put, s.cronJobs.drop, (*batchv1.CronJob)(nil))
	follow(ctx, t, p, selector, s.replicaSets.put, s.replicaSets.drop, (*appsv1.ReplicaSet)(nil))
	follow(ctx, t, p, selector, s.pods.put, s.pods.drop, (*corev1.Pod)(nil))
	follow(ctx, t, p, "", s.putEvent, s.dropEvent, (*corev1.Event)(nil))
}

// follow starts one watch of the tracker. The last argument only names the
// type.
func follow[T any, P kube.Typed[T]](ctx context.Context, t *tracker, p *Project, selector string, put, drop func(P), _ *T) {
	t.pending++
	synced := false
	t.watchers.Go(func() {
		err := kube.Watch[T, P](ctx, p.client, p.namespace, selector, func(c kube.Change[P]) {
			t.mu.Lock()
			defer t.mu.Unlock()
			switch {
			case c.Err != nil:
				t.broken = c.Err
			case c.Synced:
				t.broken = nil
				if !synced {
					synced = true
					t.pending--
				}
			case c.Deleted:
				drop(c.Object)
			default:
				put(c.Object)
			}
			t.notify()
		})
		if ctx.Err() == nil {
			t.mu.Lock()
			t.err = err
			t.notify()
			t.mu.Unlock()
		}
	})
}

// notify wakes everyone who looks at the state. t.mu is held.
func (t *tracker) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// look judges a service by the state as it is and says when to look again.
func (t *tracker) look(service string, cond model.WaitCondition, now time.Time) (verdict, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return verdict{}, nil, t.err
	case t.pending > 0 && t.broken != nil:
		return verdict{text: "the API server does not answer: " + t.broken.Error()}, t.changed, nil
	case t.pending > 0:
		return verdict{text: "looking at the cluster"}, t.changed, nil
	}
	v := t.state.judge(service, cond, now)
	if t.broken != nil && !v.done {
		v.text += " (the API server does not answer)"
		v.troubles = nil
	}
	return v, t.changed, nil
}
