package ui

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
	"github.com/morikuni/aec"
)

var (
	red    = aec.RedF
	green  = aec.GreenF
	yellow = aec.YellowF
	cyan   = aec.CyanF
	faint  = aec.Faint
	bold   = aec.Bold
)

// paint colours s where colour is wanted.
func paint(color bool, style aec.ANSI, s string) string {
	if !color {
		return s
	}
	return style.Apply(s)
}

// fit makes one line of s that takes at most the given number of terminal cells.
func fit(s string, cells int) string {
	blank := func(r rune) rune {
		if unicode.IsControl(r) {
			return ' ' // a tab would take cells that nobody counts
		}
		return r
	}
	return runewidth.Truncate(strings.Map(blank, escapes.ReplaceAllString(s, "")), max(cells, 0), "…")
}

// escapes are the sequences by which programs steer a terminal.
var escapes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~]|)`)

// tame leaves of a line what may stand among others on a terminal: colours, where
// they are wanted, which end with it. Nothing moves the cursor.
func tame(color bool, line string) string {
	if !strings.ContainsFunc(line, unicode.IsControl) {
		return line
	}
	colored := false
	line = escapes.ReplaceAllStringFunc(line, func(e string) string {
		if !color || !strings.HasPrefix(e, "\x1b[") || !strings.HasSuffix(e, "m") {
			return ""
		}
		colored = true
		return e
	})
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\x1b' {
			return -1
		}
		return r
	}, line)
	if colored && !strings.HasSuffix(line, reset) {
		line += reset
	}
	return line
}

const reset = "\x1b[0m"

// lastOver is what is seen in the end of a line that a program writes over, as
// progress bars do.
func lastOver(line string) string {
	line = strings.TrimRight(line, "\r")
	return line[strings.LastIndexByte(line, '\r')+1:]
}

// pad fills s up with blanks to the given number of terminal cells.
func pad(s string, cells int) string { return runewidth.FillRight(s, cells) }

// FormatDuration prints a duration as people read it: 85ms, 1.2s, 2m05s.
func FormatDuration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// FormatBytes prints a size in decimal units, as Docker does: 8.2 MB.
func FormatBytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exponent := float64(n)/unit, 0
	for value >= unit && exponent < 3 {
		value, exponent = value/unit, exponent+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[exponent])
}
