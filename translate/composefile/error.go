package composefile

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// An Error is something wrong with a project's files.
type Error struct {
	Position translate.Position // zero when no file is to blame
	What     string             // the attribute or file: services.web.ports[0]
	Err      error              // why
	Cure     string             // what to do, one sentence or a command; may be empty
}

// Error returns "file:line: what: why".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Position.File != "" {
		b.WriteString(e.Position.File)
		if e.Position.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Position.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.What)
	if e.Err != nil {
		if e.What != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *Error) Hint() string { return e.Cure }

// Errors are all the errors found, in the order of files and lines.
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

// Warnings are in the order in which they were found.
type Warnings []Warning

// A Warning is something that works, and that the user should know of.
type Warning struct {
	Position translate.Position
	Text     string
}

// String returns "file:line: text".
func (w Warning) String() string {
	return (&Error{Position: w.Position, What: w.Text}).Error()
}
