package translate

import (
	"fmt"
	"sort"
	"strings"
)

// An Error is something wrong with a project that only its user can put right.
type Error struct {
	Position Position // zero when no file is to blame
	What     string   // the attribute or file: services.web.ports[0]
	Err      error    // why; nil when What says it all
	Cure     string   // what to do, one sentence or a command; may be empty
}

// Error returns "file:line: what: why".
func (e *Error) Error() string {
	var parts []string
	if e.Position.File != "" {
		parts = append(parts, e.Position.String())
	}
	if e.What != "" {
		parts = append(parts, e.What)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *Error) Hint() string { return e.Cure }

// Errors are all the errors of a project, in the order in which they are to be
// read.
type Errors []*Error

// Error returns one error a line, each with its cure in brackets when there
// are several.
func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	lines := []string{fmt.Sprintf("%d errors in the compose project", len(e))}
	for _, x := range e {
		line := "  " + x.Error()
		if x.Cure != "" {
			line += " (" + x.Cure + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Hint returns the advice of a lone error; several carry theirs in the text.
func (e Errors) Hint() string {
	if len(e) == 1 {
		return e[0].Cure
	}
	return ""
}

// Unwrap returns each error.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, x := range e {
		errs[i] = x
	}
	return errs
}

// orNil returns the errors in the order of their attributes, nil when there
// are none.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	sort.SliceStable(e, func(i, j int) bool { return e[i].What < e[j].What })
	return e
}
