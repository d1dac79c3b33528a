package watch

import "runtime"

// Mode says how changes are learnt.
type Mode string

// The modes.
const (
	Auto   Mode = ""       // Native where it scales, else Poll
	Native Mode = "native" // events of the operating system, polling only what they cannot cover
	Poll   Mode = "poll"   // scan again and again
)

// resolve picks a mode for the platform. kqueue needs an open descriptor for
// every file, which no source tree of size survives, so BSDs and macOS poll.
func (m Mode) resolve() Mode {
	if m != Auto {
		return m
	}
	switch runtime.GOOS {
	case "linux", "windows", "illumos", "solaris":
		return Native
	}
	return Poll
}
