package devloop

import (
	"context"
	"errors"
	"slices"
)

// outcome is how an action ended.
type outcome struct {
	err   error  // why it failed; nil when it succeeded or was not started
	skip  string // why it was not started; "" when it was
	ended bool
}

func (o outcome) succeeded() bool { return o.ended && o.err == nil && o.skip == "" }

// A flight is a plan while it is carried out: an action starts when everything
// it depends on has succeeded. It is plain state; one goroutine uses it, and
// the work happens elsewhere.
type flight struct {
	plan     Plan
	limits   map[Verb]int // at most that many of a verb at once; 0: no limit
	outcomes []outcome    // by ID-1
	running  map[int]context.CancelCauseFunc
	dropped  map[int]string // actions given up: why
}

func newFlight(plan Plan, limits map[Verb]int) *flight {
	return &flight{
		plan: plan, limits: limits, outcomes: make([]outcome, len(plan.Actions)),
		running: map[int]context.CancelCauseFunc{}, dropped: map[int]string{},
	}
}

// errSuperseded is the cause that ends work given up for a newer change.
var errSuperseded error = superseded{}

// superseded is a cancel (context.Canceled) that says why.
type superseded struct{}

func (superseded) Error() string        { return "given up for a newer change" }
func (superseded) Is(target error) bool { return target == context.Canceled }

// next settles what can never start, calling skipped for each, and returns
// what starts now with the context of each.
func (f *flight) next(ctx context.Context, skipped func(Action, string)) []started {
	var list []started
	count := map[Verb]int{}
	for id := range f.running {
		count[f.plan.Actions[id-1].Verb]++
	}
	for _, a := range f.plan.Actions { // in order, so one pass settles chains of skips
		o := &f.outcomes[a.ID-1]
		if _, runs := f.running[a.ID]; runs || o.ended {
			continue
		}
		wait, reason := f.obstacle(a)
		if reason == "" && ctx.Err() != nil {
			reason = "interrupted"
		}
		switch {
		case reason != "":
			o.ended, o.skip = true, reason
			skipped(a, reason)
		case wait || f.limits[a.Verb] > 0 && count[a.Verb] >= f.limits[a.Verb]:
		default:
			count[a.Verb]++
			actx, cancel := context.WithCancelCause(ctx)
			f.running[a.ID] = cancel
			list = append(list, started{a, actx})
		}
	}
	return list
}

// started is an action on its way.
type started struct {
	Action
	ctx context.Context
}

// obstacle says whether a must wait, or why it can never start.
func (f *flight) obstacle(a Action) (wait bool, reason string) {
	if why, dropped := f.dropped[a.ID]; dropped {
		return false, why
	}
	for _, id := range a.After {
		o := f.outcomes[id-1]
		switch {
		case !o.ended || o.succeeded():
		case o.skip != "":
			return false, o.skip
		case errors.Is(o.err, errSuperseded):
			return false, errSuperseded.Error()
		default:
			return false, f.plan.Actions[id-1].failure()
		}
	}
	for _, id := range slices.Concat(a.After, a.AfterAny) {
		if !f.outcomes[id-1].ended {
			return true, ""
		}
	}
	return false, ""
}

// finish notes the end of an action.
func (f *flight) finish(id int, err error) {
	f.running[id](nil)
	delete(f.running, id)
	if _, dropped := f.dropped[id]; dropped && err != nil {
		err = errSuperseded
	}
	f.outcomes[id-1].ended, f.outcomes[id-1].err = true, err
}

// giveUp cancels the actions that match and have not ended. It reports whether
// there were any.
func (f *flight) giveUp(match func(Action) bool) bool {
	any := false
	for _, a := range f.plan.Actions {
		if f.outcomes[a.ID-1].ended || !match(a) {
			continue
		}
		any = true
		f.dropped[a.ID] = errSuperseded.Error()
		if cancel, runs := f.running[a.ID]; runs {
			cancel(errSuperseded)
		}
	}
	return any
}

// over reports whether all has ended.
func (f *flight) over() bool {
	return !slices.ContainsFunc(f.outcomes, func(o outcome) bool { return !o.ended })
}

// pending reports whether an action that matches has not ended.
func (f *flight) pending(match func(Action) bool) bool {
	return slices.ContainsFunc(f.plan.Actions, func(a Action) bool { return !f.outcomes[a.ID-1].ended && match(a) })
}
