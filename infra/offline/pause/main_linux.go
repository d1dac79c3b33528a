// Command pause is the first process of every pod's sandbox in the offline
// kit: it sleeps until it is told to stop and reaps orphans. It doubles as the
// program of the trial image: "pause status" prints what the kernel says of
// the process, "pause exit" ends at once. Only the standard library.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "status" {
		status, err := os.ReadFile("/proc/self/status")
		if err == nil {
			_, err = os.Stdout.Write(status)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

// reap collects every child that has ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}
