package ui

import (
	"fmt"
	"time"

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

// fit shortens s to the given number of terminal cells.
func fit(s string, cells int) string {
	return runewidth.Truncate(s, max(cells, 0), "…")
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
