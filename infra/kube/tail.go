package kube

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TailOptions choose the containers whose logs are read together.
type TailOptions struct {
	LogOptions        // Container is left empty
	Selector   string // labels of the pods
	Want       func(pod *corev1.Pod, container string) bool
	Whole      time.Time       // with Follow: of pods made since then all lines are read, whatever Tail says; zero: of those alone that start later
	Finish     <-chan struct{} // once it is closed no more containers are followed, and Tail returns when those have ended that are; nil: never
}

// Tail passes on the logs of all chosen containers: what is there in the
// order of time; with Follow as it comes, those of pods that start later
// included, until ctx ends or o.Finish. emit is never called twice at once.
func (c *Client) Tail(ctx context.Context, namespace string, o TailOptions, emit func(pod *corev1.Pod, line LogLine)) error {
	if o.Follow {
		return c.tailFollow(ctx, namespace, o, emit)
	}
	pods, err := List[corev1.Pod](ctx, c, namespace, o.Selector)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sources []*logSource
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			started := s.State.Running != nil || s.State.Terminated != nil || s.RestartCount > 0
			if started && o.Want(&pods[i], s.Name) {
				sources = append(sources, newLogSource(ctx, c, namespace, &pods[i], s.Name, o.LogOptions))
			}
		}
	}
	return mergeLogs(ctx, sources, emit)
}

// logSource is one container's log, read ahead by a goroutine of its own.
type logSource struct {
	pod   *corev1.Pod
	lines chan LogLine
	head  LogLine
	err   error // valid once lines is closed
}

func newLogSource(ctx context.Context, c *Client, namespace string, pod *corev1.Pod, container string, o LogOptions) *logSource {
	s := &logSource{pod: pod, lines: make(chan LogLine, 100)}
	o.Container, o.Earlier = container, o.Earlier && ranBefore(pod, container)
	go func() {
		defer close(s.lines)
		s.err = c.Logs(ctx, namespace, pod.Name, o, func(l LogLine) {
			select {
			case s.lines <- l:
			case <-ctx.Done():
			}
		})
		if IsNotFound(s.err) {
			s.err = nil // the pod went meanwhile
		}
	}()
	return s
}

// ranBefore reports whether a container has begun anew in its pod, or is about
// to.
func ranBefore(pod *corev1.Pod, container string) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == container && (s.LastTerminationState.Terminated != nil || s.State.Terminated != nil)
	})
}

// next reads the source's next line into head.
func (s *logSource) next() bool {
	var ok bool
	s.head, ok = <-s.lines
	return ok
}

// mergeLogs passes on the lines of all sources, oldest first. When it
// returns, every source has ended.
func mergeLogs(ctx context.Context, sources []*logSource, emit func(*corev1.Pod, LogLine)) error {
	var firstErr error
	live := make([]*logSource, 0, len(sources))
	end := func(s *logSource) {
		if s.err != nil && firstErr == nil {
			firstErr = s.err
		}
	}
	for _, s := range sources {
		if s.next() {
			live = append(live, s)
		} else {
			end(s)
		}
	}
	for len(live) > 0 {
		oldest := 0
		for i, s := range live {
			if s.head.Time.Before(live[oldest].head.Time) {
				oldest = i
			}
		}
		s := live[oldest]
		if ctx.Err() == nil {
			emit(s.pod, s.head)
		}
		if !s.next() {
			end(s)
			live = append(live[:oldest], live[oldest+1:]...)
		}
	}
	return firstErr
}

// whole reports whether all lines of a pod are read, because it was made since.
func (o TailOptions) whole(pod *corev1.Pod) bool {
	return !o.Whole.IsZero() && !pod.CreationTimestamp.Time.Before(o.Whole.Truncate(time.Second)) // which is of whole seconds
}

func (c *Client) tailFollow(ctx context.Context, namespace string, o TailOptions, emit func(*corev1.Pod, LogLine)) error {
	ctx, cancel := context.WithCancel(ctx)
	var (
		followers sync.WaitGroup
		mu        sync.Mutex
		failure   error
	)
	type container struct {
		pod  types.UID
		name string
	}
	followed := map[container]bool{}
	watching, endWatch := context.WithCancel(ctx)
	defer endWatch()
	go func() {
		select {
		case <-o.Finish:
			endWatch()
		case <-watching.Done():
		}
	}()
	first := true // pods of the first list: Tail counts for them alone
	err := Watch(watching, c, namespace, o.Selector, func(change Change[*corev1.Pod]) {
		first = first && !change.Synced
		pod := change.Object
		if pod == nil || change.Deleted {
			return
		}
		for _, spec := range pod.Spec.Containers {
			key := container{pod.UID, spec.Name}
			if followed[key] || !o.Want(pod, spec.Name) {
				continue
			}
			followed[key] = true
			options := o.LogOptions
			options.Container, options.Earlier = spec.Name, o.Earlier && ranBefore(pod, spec.Name)
			if !first || o.whole(pod) {
				options.Tail = -1
			}
			followers.Go(func() {
				err := c.Logs(ctx, namespace, pod.Name, options, func(l LogLine) {
					mu.Lock()
					defer mu.Unlock()
					emit(pod, l)
				})
				if err != nil && ctx.Err() == nil && !IsNotFound(err) {
					mu.Lock()
					failure = err
					mu.Unlock()
					cancel()
				}
			})
		}
	})
	select {
	case <-o.Finish:
		err = nil
	default:
		cancel()
	}
	followers.Wait()
	cancel()
	if failure != nil {
		return failure
	}
	return err
}
