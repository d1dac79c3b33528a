package supervise

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal as compose's stop_signal writes it: SIGTERM, term,
// 15, SIGRTMIN+3.
func ParseSignal(name string) (syscall.Signal, error) {
	upper := strings.ToUpper(strings.TrimSpace(name))
	if n, err := strconv.Atoi(upper); err == nil && n > 0 && n <= maxSignal {
		return syscall.Signal(n), nil
	}
	upper = "SIG" + strings.TrimPrefix(upper, "SIG")
	if s := unix.SignalNum(upper); s != 0 {
		return s, nil
	}
	for prefix, base := range map[string]int{"SIGRTMIN": 34, "SIGRTMAX": maxSignal} {
		offset, ok := strings.CutPrefix(upper, prefix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi("0" + strings.TrimLeft(offset, "+-"))
		if strings.HasPrefix(offset, "-") {
			n = -n
		}
		if err == nil && base+n >= 34 && base+n <= maxSignal {
			return syscall.Signal(base + n), nil
		}
	}
	return 0, fmt.Errorf("%q is not a signal", name)
}

const maxSignal = 64
