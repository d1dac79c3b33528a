package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// noArgs is the check of verbs that take no arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return problem.New(fmt.Sprintf("argument %q", args[0]), fmt.Errorf("%s takes none", cmd.CommandPath()), "")
}

// takes is the check of verbs that take least to most arguments, any number of
// them where most is negative; want says what to write.
func takes(least, most int, want string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return problem.New(want, nil, "")
		}
		return nil
	}
}

// checkIndex refuses values of --index that no pod has; 0 is for none.
func checkIndex(n int) error {
	if n < 0 {
		return misuse(fmt.Sprintf("--index %d", n), nil, "count from 1, the oldest pod")
	}
	return nil
}

// flagError is pflag's error about the value of a flag, without the words of Go's
// parsers; any other as it is.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	why := invalid.Unwrap()
	var number *strconv.NumError
	switch flag := invalid.GetFlag(); {
	case errors.As(why, &number) && flag.Value.Type() == "bool":
		why = errors.New("it is neither true nor false")
	case errors.As(why, &number):
		why = errors.New("it is not a whole number")
	}
	return problem.New(fmt.Sprintf("--%s %q", invalid.GetFlag().Name, invalid.GetValue()), why, "")
}

// excluding is cobra's error about flags that exclude each other, in words for
// people.
func excluding(err error) error {
	_, rest, found := strings.Cut(err.Error(), "; [")
	names, _, ended := strings.Cut(rest, "] were all set")
	if !found || !ended {
		return err
	}
	return errors.New("--" + strings.Join(strings.Fields(names), " and --") + " exclude each other")
}
