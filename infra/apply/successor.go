package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
)

// Times of waiting for a container with another image.
const (
	startWithin  = time.Minute // after the old one has had its time to end
	troubleEvery = 500 * time.Millisecond
)

// A place is a container of a pod that another one is to follow.
type place struct {
	name, id string
	ports    []int // where its programs listened
}

// awaitSuccessor waits until another container runs in a place. One that cannot
// be started (its program is not in the image, the image not on the node) never
// does: what keeps it is the error then.
func (s *swap) awaitSuccessor(ctx context.Context, pod *corev1.Pod, w place) error {
	within := startWithin
	if grace := pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		within += time.Duration(*grace) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("container %q of pod %q has not started again within %s", w.name, pod.Name, within))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer fail(nil)
	watching.Go(func() { fail(s.keptFromStarting(ctx, pod, w.name)) })
	err := s.p.nodes.AwaitSuccessor(ctx, pod.Spec.NodeName, pod.Namespace, pod.Name, w.name, w.id, w.ports)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// keptFromStarting returns what keeps a container from starting when that has
// lasted so long that it is no mere step on the way, nor what was wrong with the
// container before; or when ctx ends.
func (s *swap) keptFromStarting(ctx context.Context, pod *corev1.Pod, name string) error {
	var since time.Time
	for {
		if err := pause(ctx, troubleEvery); err != nil {
			return err
		}
		now, err := kube.Get[corev1.Pod](ctx, s.p.client, pod.Namespace, pod.Name)
		if kube.IsNotFound(err) {
			return fmt.Errorf("pod %q is gone", pod.Name)
		}
		if err != nil {
			continue // the API server may be away for a moment; ctx ends the waiting
		}
		var t *trouble
		for _, c := range now.Status.ContainerStatuses {
			if c.Name == name {
				t = containerTrouble(now, c, "container")
			}
		}
		switch {
		case t == nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > graceImage:
			return errors.New(t.text)
		}
	}
}
