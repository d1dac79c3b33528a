package cli

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/infra/problem"
)

// An alwaysFlag is a flag of docker compose that is always true here: false is
// refused, not ignored.
type alwaysFlag struct{}

// addAlwaysFlag adds a flag that can only be true.
func addAlwaysFlag(flags *pflag.FlagSet, name, usage string) {
	addAlwaysFlagP(flags, name, "", usage)
}

// addAlwaysFlagP adds one that has a letter, too.
func addAlwaysFlagP(flags *pflag.FlagSet, name, shorthand, usage string) {
	flags.VarPF(alwaysFlag{}, name, shorthand, usage).NoOptDefVal = "true"
}

func (alwaysFlag) String() string { return "true" }
func (alwaysFlag) Type() string   { return "bool" }

// Set accepts the value that holds anyway.
func (alwaysFlag) Set(text string) error {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return err
	}
	if !value {
		return errors.New("it is always true here")
	}
	return nil
}

// A limitFlag is a time: 90s or 2m, or a number of seconds, as docker compose
// has it.
type limitFlag struct{ limit *time.Duration }

// addWaitTimeout adds the flag for the limit of a wait, 0 by default.
func addWaitTimeout(flags *pflag.FlagSet, limit *time.Duration, usage string) {
	flags.Var(limitFlag{limit}, "wait-timeout", usage)
}

func (f limitFlag) String() string {
	if f.limit == nil {
		return ""
	}
	return f.limit.String()
}
func (f limitFlag) Type() string { return "duration" }

// Set reads the time; a negative one is refused.
func (f limitFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if seconds, isNumber := strconv.Atoi(text); isNumber == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	switch {
	case err != nil:
		return problem.New("it is no time", nil, "write 90s, 2m or a number of seconds")
	case d < 0:
		return errors.New("it is negative")
	}
	*f.limit = d
	return nil
}

// ownGrace lets pods end within their services' stop_grace_period.
const ownGrace = -1

// A graceFlag is the number of seconds after which pods that are to end are
// killed; ownGrace until it is given.
type graceFlag struct{ seconds *int }

// addGrace adds the flag --timeout of verbs that end pods.
func addGrace(flags *pflag.FlagSet, seconds *int, usage string) {
	*seconds = ownGrace
	flags.VarP(graceFlag{seconds}, "timeout", "t", usage+"; default: the services' stop_grace_period")
}

func (f graceFlag) String() string {
	if f.seconds == nil || *f.seconds < 0 {
		return ""
	}
	return strconv.Itoa(*f.seconds)
}
func (f graceFlag) Type() string { return "int" }

// Set reads the number; a negative one is refused.
func (f graceFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return err
	case n < 0:
		return problem.New("it is negative", nil, "give a number of seconds")
	}
	*f.seconds = n
	return nil
}
