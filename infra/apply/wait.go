package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A Failure is why a service did not come up.
type Failure struct {
	Service   string
	Pod       string   // "" when it concerns none
	Container string   // "" when it concerns none
	Reason    string   // one sentence
	ExitCode  *int32   // of the container's last end; nil when it has not ended
	Lines     []string // the last of the container's log
}

// Error is the reason, and the log lines below it.
func (f *Failure) Error() string {
	if len(f.Lines) == 0 {
		return f.Reason
	}
	return f.Reason + "\n  its last log lines:\n    " + strings.Join(f.Lines, "\n    ")
}

// Wait returns nil when a service has reached a condition, and a Problem with
// a *Failure as soon as it cannot any more: crash loop, image missing, no
// node, failed healthcheck, mount or quota, failed job. How long it waits
// otherwise is up to ctx.
func (p *Project) Wait(ctx context.Context, service string, cond model.WaitCondition, sink progress.Sink) error {
	task := progress.Start(sink, "start "+service, "looking at the cluster")
	err := p.wait(ctx, service, cond, task)
	return task.End(err, doneText(cond))
}

func doneText(cond model.WaitCondition) string {
	switch cond {
	case model.WaitStarted:
		return "started"
	case model.WaitCompleted:
		return "completed"
	}
	return "ready"
}

// Times of the wait's own loop.
const (
	settleFor = 20 * time.Millisecond // changes come in bursts
	lookEvery = 500 * time.Millisecond
)

func (p *Project) wait(ctx context.Context, service string, cond model.WaitCondition, task *progress.Task) error {
	t := p.acquire(ctx)
	defer p.release(t)
	seen, begun := map[string]time.Time{}, time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		v, changed, err := t.look(service, cond, now)
		switch {
		case err != nil:
			return problem.New(waitWhat(service, cond), err, "")
		case v.finished:
			return p.finish(ctx, service)
		case v.done:
			return nil
		}
		if bad := ripe(v.troubles, seen, begun, now); bad != nil {
			return p.failure(ctx, service, cond, *bad)
		}
		task.Update(describe(v))
		select {
		case <-ctx.Done():
			return p.timedOut(ctx, service, cond, v)
		case <-tick.C:
			continue
		case <-changed:
		}
		_ = pause(ctx, settleFor) // whether ctx has ended is asked above
	}
}

// describe is the progress line of a verdict.
func describe(v verdict) string {
	if len(v.troubles) > 0 {
		return v.text + ": " + firstLine(v.troubles[0].text)
	}
	return v.text
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// ripe returns the first trouble that has lasted longer than its grace, in a wait
// that begun. seen remembers since when each was there without interruption.
func ripe(troubles []trouble, seen map[string]time.Time, begun, now time.Time) *trouble {
	current := map[string]bool{}
	var found *trouble
	for i, t := range troubles {
		key := t.pod + " " + t.container + " " + t.short
		current[key] = true
		if seen[key].IsZero() {
			seen[key] = now
		}
		if found == nil && now.Sub(seen[key]) >= t.grace && now.Sub(begun) >= t.patience {
			found = &troubles[i]
		}
	}
	for key := range seen {
		if !current[key] {
			delete(seen, key)
		}
	}
	return found
}

func waitWhat(service string, cond model.WaitCondition) string {
	switch cond {
	case model.WaitStarted:
		return fmt.Sprintf("start service %q", service)
	case model.WaitCompleted:
		return fmt.Sprintf("run service %q to its end", service)
	}
	return fmt.Sprintf("bring service %q up", service)
}

// Log lines that a failure shows, and how long reading them may take.
const (
	failureLines = 10
	linesFor     = 5 * time.Second
)

// failure makes the error of a trouble, with the container's last log lines.
func (p *Project) failure(ctx context.Context, service string, cond model.WaitCondition, t trouble) error {
	f := &Failure{Service: service, Pod: t.pod, Container: t.container, Reason: t.text, ExitCode: t.exit}
	if t.container != "" {
		ctx, cancel := context.WithTimeout(ctx, linesFor)
		defer cancel()
		lines, err := p.client.LastLines(ctx, p.namespace, t.pod, t.container, t.previous, failureLines)
		if err != nil {
			lines, err = p.client.LastLines(ctx, p.namespace, t.pod, t.container, !t.previous, failureLines)
		}
		if err == nil { // without them the reason still stands
			f.Lines = lines
		}
	}
	hint := t.hint
	if hint == "" {
		hint = "berth logs " + service
	}
	return problem.New(waitWhat(service, cond), f, hint)
}

// timedOut is the error of a wait that ctx ended.
func (p *Project) timedOut(ctx context.Context, service string, cond model.WaitCondition, v verdict) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	hint := "give it longer with --wait-timeout, or see `berth ps` and `berth logs " + service + "`"
	if len(v.troubles) > 0 && v.troubles[0].hint != "" {
		hint = v.troubles[0].hint
	}
	return problem.New(waitWhat(service, cond), fmt.Errorf("%w: %s", context.Cause(ctx), describe(v)), hint)
}

// finish keeps a service whose pods have ended well from running again: its
// Deployment gets no pods until its definition changes.
func (p *Project) finish(ctx context.Context, service string) error {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return err
	}
	for _, w := range workloads {
		if w.GetKind() != "Deployment" {
			continue
		}
		change := stopChange(w)
		if change == nil {
			continue
		}
		merge(change, map[string]any{"metadata": map[string]any{"annotations": map[string]any{
			annotationFinished: w.GetAnnotations()[annotationHash], annotationLog: p.lastRun(ctx, service),
		}}})
		if err := p.patch(ctx, keyOf(w), change); err != nil {
			return err
		}
	}
	return nil
}
