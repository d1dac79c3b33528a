package supervise

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// A Limit is a resource limit of the program and of what it starts, as
// compose's ulimits writes it. -1 is no limit.
type Limit struct {
	Name       string
	Soft, Hard int64
}

// resources are the limits of getrlimit(2), by the names that compose uses.
var resources = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7,
	"memlock": 8, "as": 9, "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

// ParseLimit reads "nofile=1024:2048".
func ParseLimit(text string) (Limit, error) {
	name, values, _ := strings.Cut(text, "=")
	soft, hard, _ := strings.Cut(values, ":")
	l := Limit{Name: name}
	var err1, err2 error
	l.Soft, err1 = strconv.ParseInt(soft, 10, 64)
	l.Hard, err2 = strconv.ParseInt(hard, 10, 64)
	if _, known := resources[name]; !known || err1 != nil || err2 != nil || l.Soft < -1 || l.Hard < -1 {
		return Limit{}, fmt.Errorf("%q is not NAME=SOFT:HARD", text)
	}
	return l, nil
}

// Set sets the limit for this process, whose children have it too. Without the
// right to go beyond the hard limit that holds, it goes as far as that, and the
// error says how far that was.
func (l Limit) Set() error {
	number := resources[l.Name]
	want := syscall.Rlimit{Cur: uint64(l.Soft), Max: uint64(l.Hard)} // -1 becomes RLIM_INFINITY
	err := syscall.Setrlimit(number, &want)
	if err == nil {
		return nil
	}
	var have syscall.Rlimit
	if syscall.Getrlimit(number, &have) != nil {
		return fmt.Errorf("ulimit %s: %w", l.Name, err)
	}
	want.Max = min(want.Max, have.Max)
	want.Cur = min(want.Cur, want.Max)
	if err := syscall.Setrlimit(number, &want); err != nil {
		return fmt.Errorf("ulimit %s: %w", l.Name, err)
	}
	return fmt.Errorf("ulimit %s: %d is as far as the node lets it go", l.Name, want.Max)
}
