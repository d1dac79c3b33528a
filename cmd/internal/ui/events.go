package ui

import (
	"strings"

	"github.com/morikuni/aec"

	"github.com/berth-dev/berth/devloop"
)

// EventLine is one event of the dev loop as people read it, or "" for events
// that are not worth a line. width is that of the service names.
func EventLine(color bool, e devloop.Event, width int) string {
	name := pad(e.Service, width)
	line := func(style aec.ANSI, mark string, parts ...string) string {
		text := paint(color, style, mark+" "+name)
		for _, p := range parts {
			if p != "" {
				text += "  " + p
			}
		}
		return text
	}
	switch e.Kind {
	case devloop.EventChange:
		return line(cyan, "▸", paint(color, bold, e.Action), e.Cause, paint(color, faint, parenthesis(e.Why)))
	case devloop.EventServing:
		if e.Service == "" {
			return "" // the whole project: its addresses are printed
		}
		if len(e.Steps) == 0 { // by itself, or with the project
			return line(green, "✔", paint(color, faint, e.Cause))
		}
		return line(green, "✔", paint(color, faint, e.Waterfall()), paint(color, faint, parenthesis(e.How)))
	case devloop.EventFailed:
		return line(red, "✘", e.Action, indentRest(e.Error.Error()))
	case devloop.EventHold:
		return line(yellow, "‖", e.Cause, e.Why)
	case devloop.EventCancel:
		return line(faint, "-", paint(color, faint, "given up"), paint(color, faint, e.Why))
	case devloop.EventSame:
		return line(faint, "=", paint(color, faint, e.Cause), paint(color, faint, e.Why))
	case devloop.EventProject:
		return line(cyan, "▸", e.Cause, e.Why)
	case devloop.EventOutput:
		return Prefix(color, e.Service, width) + lastOver(e.Line)
	case devloop.EventWarn:
		return line(yellow, "!", strings.TrimSpace(e.Cause+" "+e.Why), paint(color, faint, parenthesis(e.Line)))
	default:
		return ""
	}
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}
