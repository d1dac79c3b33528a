package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// A fixedFlag is a flag of docker compose that has one meaning only here. Its
// other value is refused, not ignored.
type fixedFlag struct{ value bool }

// addFixedFlag adds a flag that can only be value.
func addFixedFlag(flags *pflag.FlagSet, name string, value bool, usage string) {
	flags.VarPF(fixedFlag{value}, name, "", usage).NoOptDefVal = "true"
}

func (f fixedFlag) String() string { return strconv.FormatBool(f.value) }
func (f fixedFlag) Type() string   { return "bool" }

// Set accepts the value that holds anyway.
func (f fixedFlag) Set(text string) error {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return err
	}
	if value != f.value {
		return fmt.Errorf("it is always %t here", f.value)
	}
	return nil
}

// A limitFlag is a time: 90s or 2m, or a number of seconds, as docker compose
// has it.
type limitFlag struct{ limit *time.Duration }

// addLimitFlag adds a flag for a time limit, 0 by default.
func addLimitFlag(flags *pflag.FlagSet, limit *time.Duration, name, usage string) {
	flags.Var(limitFlag{limit}, name, usage)
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
		return fmt.Errorf("%q is no time: write 90s, 2m or a number of seconds", text)
	case d < 0:
		return fmt.Errorf("%q is negative", text)
	}
	*f.limit = d
	return nil
}
