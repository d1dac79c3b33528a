package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// lastWordsWithin is how long the logs may take to come to their ends once
// everything has stopped.
const lastWordsWithin = 5 * time.Second

// attachedLogs prints the logs of an up that stays. Two readers bring the lines:
// one follows them all the time, the other fetches those that the first has not
// come to when a container has ended.
type attachedLogs struct {
	mu      sync.Mutex
	printer *logPrinter
	last    map[string]time.Time // by pod and container: of the last line followed
	fetched map[fetchedLine]int  // that are still to be followed
	over    *apply.Exit          // what runs in its place is no longer printed
}

// fetchedLine is a line of a container's log.
type fetchedLine struct {
	container, text string
	at              int64
}

func lineOf(pod *corev1.Pod, l kube.LogLine) fetchedLine {
	return fetchedLine{pod.Name + "/" + l.Container, l.Text, l.Time.UnixNano()}
}

// followed prints a line unless it was fetched before.
func (a *attachedLogs) followed(pod *corev1.Pod, l kube.LogLine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := lineOf(pod, l)
	if l.Time.After(a.last[line.container]) {
		a.last[line.container] = l.Time
	}
	switch {
	case a.fetched[line] > 0:
		a.fetched[line]--
	case a.over == nil || a.over.Pod != pod.Name || a.over.Service != apply.ServiceOf(pod, l.Container):
		a.printer.line(pod, l)
	}
}

// fetch prints a line that was not followed yet.
func (a *attachedLogs) fetch(pod *corev1.Pod, l kube.LogLine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if line := lineOf(pod, l); l.Time.After(a.last[line.container]) {
		a.fetched[line]++
		a.printer.line(pod, l)
	}
}

// follow prints the logs until a container has ended, or the user has had
// enough, stops everything, and prints what is said meanwhile.
func (a *attachment) follow(ctx context.Context, ended <-chan struct{}) error {
	states, err := a.running.Observe(ctx)
	if err != nil {
		return errors.Join(err, a.stop(ctx))
	}
	a.running.states = states
	printer := a.app.newLogPrinter(a.running, a.printed, logsOptions{follow: true, noPrefix: a.opts.noPrefix, noColor: a.opts.noColor, timestamps: a.opts.timestamps})
	defer printer.flush()
	logs := &attachedLogs{printer: printer, last: map[string]time.Time{}, fetched: map[fetchedLine]int{}}
	stopped := make(chan struct{})
	options := kube.TailOptions{
		LogOptions: kube.LogOptions{Follow: true, Tail: -1, Since: a.since, Earlier: true}, Selector: model.LabelService + "," + apply.LabelOneOff + "!=True",
		Want: func(pod *corev1.Pod, container string) bool {
			return a.prints(apply.ServiceOf(pod, container))
		},
		Finish: stopped,
	}
	finished := slices.DeleteFunc(slices.Clone(states), func(s model.ServiceState) bool { return !a.prints(s.Service) })
	if err := printer.kept(ctx, a.running, finished, options.LogOptions); err != nil {
		return errors.Join(err, a.stop(ctx))
	}
	following, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	tailed := make(chan error, 1)
	go func() { tailed <- a.running.kube.Tail(following, a.running.Namespace(), options, logs.followed) }()
	select {
	case err := <-tailed:
		return errors.Join(err, a.stop(ctx))
	case <-ctx.Done():
	case <-ended:
		err = a.fetchRest(ctx, logs, options)
	}
	err = errors.Join(err, a.stop(ctx))
	close(stopped)
	defer time.AfterFunc(lastWordsWithin, cut).Stop()
	if tailErr := <-tailed; following.Err() == nil {
		err = errors.Join(err, tailErr)
	}
	return err
}

// fetchRest prints what the containers have written and nobody has followed
// yet: the pods may be gone before somebody does.
func (a *attachment) fetchRest(ctx context.Context, logs *attachedLogs, options kube.TailOptions) error {
	options.Follow = false
	err := a.running.kube.Tail(ctx, a.running.Namespace(), options, logs.fetch)
	logs.mu.Lock()
	defer logs.mu.Unlock()
	logs.over = a.exit()
	if ctx.Err() != nil {
		return nil // stopping everything comes next
	}
	return err
}
