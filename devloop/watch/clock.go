package watch

import "time"

// A Clock tells the time and makes timers. Tests hand in their own.
type Clock interface {
	Now() time.Time
	NewTimer(d time.Duration) Timer
}

// A Timer fires once on C after its duration unless stopped first.
type Timer interface {
	C() <-chan time.Time
	Stop() bool
}

// Fired is the channel of a timer; that of none, nil, never fires.
func Fired(t Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C()
}

// SystemClock is the real clock.
type SystemClock struct{}

// Now returns the current time.
func (SystemClock) Now() time.Time { return time.Now() }

// NewTimer starts a timer.
func (SystemClock) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }
