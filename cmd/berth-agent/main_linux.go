// Command berth-agent is what berth runs inside a cluster's nodes, its gateway
// containers and the pods of services under `berth dev`. It is one static
// binary without dependencies; berth carries it in and drives it. It never
// listens on a port of a node and keeps no state of its own there.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// command is one subcommand; it returns the process's exit status.
type command func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

func main() {
	name, args := "", os.Args[1:]
	if base := filepath.Base(os.Args[0]); base == "init" { // mounted into a pod as /.berth/init
		name = base
	} else if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	commands := map[string]command{
		"init":        runInit,
		"proxy":       runProxy,
		"serve":       runServe,
		"idle":        runIdle,
		"copy-volume": runCopyVolume,
		"checkpoint":  runCheckpoint,
		"place":       runPlace,
	}
	run, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "berth-agent: %q is not a command; it is started by berth\n", name)
		os.Exit(2)
	}
	ctx := context.Background()
	if name != "init" { // it passes signals on
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
	}
	os.Exit(run(ctx, args, os.Stdin, os.Stdout, os.Stderr))
}
