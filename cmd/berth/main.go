// Command berth gives a compose project a berth on a multi-node Kubernetes
// cluster on this machine. Everything it does is in cmd/internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // time zones of jobs, where the machine has no list

	"github.com/berth-dev/berth/cmd/internal/cli"
)

func main() {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup wants it so
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	os.Exit(cli.Main(ctx, cli.OSStreams(), os.Args[1:]))
}
