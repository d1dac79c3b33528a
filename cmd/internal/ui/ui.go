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

// A Renderer shows progress until it is closed.
type Renderer interface {
	progress.Sink
	Close()
}

// New returns the renderer of a mode: auto is tty on a terminal, plain
// elsewhere.
func New(mode string, w io.Writer, terminal, color bool) Renderer {
	switch {
	case mode == "json":
		return newJSONRenderer(w)
	case mode == "quiet":
		return quietRenderer{}
	case mode == "tty", mode == "auto" && terminal:
		return newTTYRenderer(w, color)
	default:
		return newPlainRenderer(w)
	}
}

type quietRenderer struct{}

func (quietRenderer) Report(progress.Event) {}
func (quietRenderer) Close()                {}

// PrintError prints an error and the advice that goes with it.
func PrintError(w io.Writer, color bool, err error, hint string) {
	fmt.Fprintf(w, "%s %s\n", paint(color, red, "Error:"), indentRest(err.Error()))
	if hint != "" {
		fmt.Fprintf(w, "%s %s\n", paint(color, bold, "Try:"), hint)
	}
}

// indentRest indents all lines but the first, so that the output of a failed
// command reads as part of the error.
func indentRest(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
