package devloop

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// A result is an action that ended.
type result struct {
	flight *flight
	id     int
	err    error
}

// run carries out a plan and returns when all that was started has ended.
// skipped is called for every action that is not started.
func run(ctx context.Context, f *flight, do func(context.Context, Action) error, skipped func(Action, string)) {
	results := make(chan result)
	for {
		for _, s := range f.next(ctx, skipped) {
			go func() { results <- result{f, s.ID, do(s.ctx, s.Action)} }()
		}
		if f.over() {
			return
		}
		r := <-results // workers stop promptly on cancel, and every one is heard
		f.finish(r.id, r.err)
	}
}

// A RunError lists everything that failed in one execution of a plan and what
// was not done for it.
type RunError struct {
	Failed  []error
	Skipped []string
}

// Error has one paragraph a failure and one line for what was skipped.
func (e *RunError) Error() string {
	var lines []string
	for _, err := range e.Failed {
		lines = append(lines, err.Error())
	}
	if len(e.Skipped) > 0 {
		lines = append(lines, "not done for it: "+strings.Join(e.Skipped, ", "))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the failures.
func (e *RunError) Unwrap() []error { return e.Failed }

// err makes the error of a flight that is over, nil when all went well. A
// cancel is reported as such and not as the failures it causes; what was given
// up for a newer change is no failure.
func (f *flight) err(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e RunError
	for i, o := range f.outcomes {
		if o.err != nil && !errors.Is(o.err, errSuperseded) && !containsError(e.Failed, o.err) {
			e.Failed = append(e.Failed, o.err)
		}
		if o.skip != "" && o.skip != errSuperseded.Error() && f.plan.Actions[i].Verb != Wait {
			e.Skipped = append(e.Skipped, f.plan.Actions[i].String())
		}
	}
	if len(e.Failed) == 0 {
		return nil
	}
	return &e
}

// containsError reports whether err says the same as one of errs: two waits
// for one service fail with the same words.
func containsError(errs []error, err error) bool {
	return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(err, e) || e.Error() == err.Error() })
}
