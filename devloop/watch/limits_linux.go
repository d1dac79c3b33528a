package watch

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// limitNotice says why a directory cannot be watched and how to change that.
func limitNotice(err error) Notice {
	var setting string
	var want int
	switch {
	case errors.Is(err, syscall.ENOSPC):
		setting, want = "fs.inotify.max_user_watches", 1048576
	case errors.Is(err, syscall.EMFILE):
		setting, want = "fs.inotify.max_user_instances", 1024
	default:
		return Notice{Text: "some directories cannot be watched and are polled: " + cause(err)}
	}
	now := "unknown"
	if data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(setting, ".", "/")); err == nil {
		now = strings.TrimSpace(string(data))
	}
	return Notice{
		Text: fmt.Sprintf("the limit %s (%s) is reached: what events do not cover is polled, which is slower", setting, now),
		Hint: fmt.Sprintf("sudo sysctl %s=%d", setting, want),
	}
}
