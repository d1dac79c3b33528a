package translate

import (
	"fmt"
	"sort"
	"strings"
)

// An Error is something in a project that cannot be translated until the user
// changes it.
type Error struct {
	Position Position
	Path     string // services.web.x-berth.kind
	What     string
	Cure     string
}

// Error returns "file:line: path: what".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Position.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", e.Position.File, e.Position.Line)
	}
	b.WriteString(e.Path)
	b.WriteString(": ")
	b.WriteString(e.What)
	return b.String()
}

// Hint returns what the user can do.
func (e *Error) Hint() string { return e.Cure }

// Errors are all the errors of a project, in the order of their paths.
type Errors []*Error

// Error returns one error a line, each with its cure when there are several.
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

// orNil returns the errors in order, nil when there are none.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	sort.SliceStable(e, func(i, j int) bool { return e[i].Path < e[j].Path })
	return e
}
