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

// Hint returns the advice of the outermost Problem in err's chain that has
// one, or "".
func Hint(err error) string {
	var p *Problem
	for errors.As(err, &p) {
		if p.Hint != "" {
			return p.Hint
		}
		err = p.Err
	}
	return ""
}
