package cli

import (
	"errors"

	"github.com/berth-dev/berth/infra/problem"
)

// A usageError is a command line that cannot be meant: a value that a flag does
// not take, or flags and arguments that exclude each other. Nothing was begun, and
// berth exits with status 2 as it does for a flag that it does not know.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// misuse is problem.New for a usageError.
func misuse(what string, err error, hint string) error {
	return usageError{problem.New(what, err, hint)}
}

func isMisuse(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}
