package devloop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// outcome is how an action ended.
type outcome struct {
	err  error  // why it failed; nil when it succeeded or was skipped
	skip string // why it was not started; "" when it was
	ran  bool
}

func (o outcome) succeeded() bool { return o.ran && o.err == nil }

// run executes the plan: an action starts when everything it depends on has
// succeeded, at most limits[verb] of a verb at once (0: no limit). skipped is
// called for every action that is not started. It returns when all that was
// started has ended, with one outcome an action, in order.
func run(ctx context.Context, plan Plan, limits map[Verb]int, do func(context.Context, Action) error, skipped func(Action, string)) []outcome {
	type result struct {
		id  int
		err error
	}
	outcomes := make([]outcome, len(plan.Actions)+1) // by ID, from 1
	ended := make([]bool, len(plan.Actions)+1)
	started := make([]bool, len(plan.Actions)+1)
	running := map[Verb]int{}
	results := make(chan result)
	var workers sync.WaitGroup
	defer workers.Wait()
	active := 0
	for {
		for _, a := range plan.Actions {
			if started[a.ID] || ended[a.ID] {
				continue
			}
			wait, reason := obstacle(a, plan, outcomes, ended)
			if reason == "" && ctx.Err() != nil {
				reason = "interrupted"
			}
			switch {
			case reason != "":
				ended[a.ID], outcomes[a.ID].skip = true, reason
				skipped(a, reason)
			case wait || limits[a.Verb] > 0 && running[a.Verb] >= limits[a.Verb]:
			default:
				started[a.ID], outcomes[a.ID].ran = true, true
				running[a.Verb]++
				active++
				workers.Go(func() { results <- result{a.ID, do(ctx, a)} })
			}
		}
		if active == 0 {
			return outcomes[1:]
		}
		r := <-results // workers stop promptly on cancel, and the loop takes every result
		active--
		running[plan.Actions[r.id-1].Verb]--
		ended[r.id], outcomes[r.id].err = true, r.err
	}
}

// obstacle says whether a must wait, or why it can never start. Actions come
// after what they depend on, so one pass over a plan settles all skips.
func obstacle(a Action, plan Plan, outcomes []outcome, ended []bool) (wait bool, reason string) {
	for _, id := range a.After {
		if ended[id] && !outcomes[id].succeeded() {
			if skip := outcomes[id].skip; skip != "" {
				return false, skip
			}
			return false, fmt.Sprintf("%s failed", plan.Actions[id-1])
		}
	}
	for _, id := range slices.Concat(a.After, a.AfterAny) {
		if !ended[id] {
			return true, ""
		}
	}
	return false, ""
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

// runError makes the error of an execution, nil when all went well. A cancel
// is reported as such and not as the failures it causes.
func runError(ctx context.Context, plan Plan, outcomes []outcome) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e RunError
	for i, o := range outcomes {
		if o.err != nil && !containsError(e.Failed, o.err) {
			e.Failed = append(e.Failed, o.err)
		}
		if o.skip != "" && plan.Actions[i].Verb != Wait {
			e.Skipped = append(e.Skipped, plan.Actions[i].String())
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
