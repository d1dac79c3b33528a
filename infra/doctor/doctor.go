// Package doctor looks for what keeps berth from working on this machine. A
// check is data: a name and a function that reads facts and draws one
// conclusion, with its reason and its cure.
//
// It must never change anything, and never end at the first trouble: every
// check runs, whatever the others say.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Verdict says how bad a finding is.
type Verdict string

// The verdicts.
const (
	OK    Verdict = "ok"
	Warn  Verdict = "warn"  // berth works, with a limit the reason names
	Block Verdict = "block" // berth cannot work
	Skip  Verdict = "skip"  // could not be looked at
)

// A Finding is what a check found.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	Cure    string  `json:"cure,omitempty"` // a command to run, or one sentence
}

// A Check is one question about the machine.
type Check struct {
	Name string
	Run  func(ctx context.Context) Finding
}

// A Result is a check's name with what it found.
type Result struct {
	Name string `json:"name"`
	Finding
}

// checkTimeout is how long one check may take: a resolver or an API server that
// does not answer is a finding, too.
const checkTimeout = 10 * time.Second

// Run runs all checks at once and returns their results in the checks' order.
func Run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	var group sync.WaitGroup
	for i, c := range checks {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			results[i] = Result{c.Name, c.Run(ctx)}
		})
	}
	group.Wait()
	return results
}

// Blocked returns an error that counts the checks that block, nil when none
// does.
func Blocked(results []Result) error {
	n := 0
	for _, r := range results {
		if r.Verdict == Block {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return errors.New("1 check says that berth cannot work here")
	}
	return fmt.Errorf("%d checks say that berth cannot work here", n)
}

func ok(format string, args ...any) Finding {
	return Finding{Verdict: OK, Reason: fmt.Sprintf(format, args...)}
}

func warn(cure, format string, args ...any) Finding {
	return Finding{Verdict: Warn, Reason: fmt.Sprintf(format, args...), Cure: cure}
}

func block(cure, format string, args ...any) Finding {
	return Finding{Verdict: Block, Reason: fmt.Sprintf(format, args...), Cure: cure}
}

func skip(format string, args ...any) Finding {
	return Finding{Verdict: Skip, Reason: fmt.Sprintf(format, args...)}
}
