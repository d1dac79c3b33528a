package watch

import "time"

// A debounce decides when a burst of events is over. It is plain data: times
// go in, a deadline comes out.
type debounce struct {
	quiet   time.Duration // how long nothing must happen
	longest time.Duration // after the first event, when something always happens

	first, last time.Time // of the burst; zero when there is none
	paths       int       // different paths in the burst
}

// Beyond burstPaths paths a burst is the work of a program (a checkout, a
// package manager) and not of an editor: it pauses longer between files and
// takes longer in all.
const (
	burstPaths = 64
	burstScale = 5
)

// event notes that something happened, from first to last; paths is how many
// different paths the burst has by then.
func (d *debounce) event(first, last time.Time, paths int) {
	if d.first.IsZero() {
		d.first = first
	}
	d.last, d.paths = last, paths
}

// deadline is when the burst counts as over, unless more happens; zero when
// there is no burst.
func (d *debounce) deadline() time.Time {
	if d.first.IsZero() {
		return time.Time{}
	}
	quiet, longest := d.quiet, d.longest
	if d.paths > burstPaths {
		quiet, longest = quiet*burstScale, longest*burstScale
	}
	calm, end := d.last.Add(quiet), d.first.Add(longest)
	if end.Before(calm) {
		return end
	}
	return calm
}

// reset ends the burst and returns when it began.
func (d *debounce) reset() time.Time {
	first := d.first
	d.first, d.last, d.paths = time.Time{}, time.Time{}, 0
	return first
}
