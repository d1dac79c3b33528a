// Package ui renders progress events and errors for people and programs. It
// decides nothing and calls nothing but the terminal.
package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/berth-dev/berth/infra/progress"
)

// Modes are the values of --progress.
var Modes = []string{"auto", "tty", "plain", "json", "quiet"}

// A Renderer shows progress until it is closed. Of a failure it shows the first
// line: whoever asked for the work gets the whole error.
type Renderer interface {
	progress.Sink
	Line(text string) // prints text as it is, between what it shows
	Close()
}

// New returns the renderer of a mode: auto is tty on a terminal, plain
// elsewhere.
func New(mode string, w io.Writer, terminal, color bool) Renderer {
	switch {
	case mode == "json":
		return newJSONRenderer(w)
	case mode == "quiet":
		return quietRenderer{w}
	case mode == "tty", mode == "auto" && terminal:
		return newTTYRenderer(w, color)
	default:
		return newPlainRenderer(w)
	}
}

type quietRenderer struct{ w io.Writer }

func (quietRenderer) Report(progress.Event) {}
func (r quietRenderer) Line(text string)    { fmt.Fprintln(r.w, text) }
func (quietRenderer) Close()                {}

// PrintError prints an error and the advice that goes with it.
func PrintError(w io.Writer, color bool, err error, hint string) {
	fmt.Fprintf(w, "%s %s\n", paint(color, red, "Error:"), indentRest(err.Error()))
	if hint != "" {
		fmt.Fprintf(w, "%s %s\n", paint(color, bold, "Try:"), hint)
	}
}

// firstLine is an error without its details.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// indentRest indents all lines but the first, so that the output of a failed
// command reads as part of the error.
func indentRest(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
