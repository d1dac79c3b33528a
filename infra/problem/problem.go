// Package problem holds the one error type that carries advice for the user.
// It imports nothing of ours and prints nothing.
package problem

import "errors"

// A Problem is an error the user can do something about. It prints as
// "What: Err"; cmd adds a line "Try: Hint".
type Problem struct {
	What string // what could not be done: load image "shop-web:dev" onto node "dev-worker"
	Err  error  // why; may be nil when What says it all
	Hint string // a command to run, or one sentence
}

// New returns a Problem as an error.
func New(what string, err error, hint string) error {
	return &Problem{What: what, Err: err, Hint: hint}
}

// Error returns "What: Err".
func (p *Problem) Error() string {
	if p.Err == nil {
		return p.What
	}
	return p.What + ": " + p.Err.Error()
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Hint returns the advice of the outermost error in err's chain that has some:
// a Problem, or an error of another package with a method Hint() string. It
// is "" when there is none.
func Hint(err error) string {
	var p *Problem
	for rest := err; errors.As(rest, &p); rest = p.Err {
		if p.Hint != "" {
			return p.Hint
		}
	}
	var other interface{ Hint() string }
	if errors.As(err, &other) {
		return other.Hint()
	}
	return ""
}
