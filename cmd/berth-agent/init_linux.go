package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/berth-dev/berth/infra/agent/supervise"
)

// runInit runs the command after "--" as a container's first process does, and
// starts it again when the node's agent asks for that.
func runInit(ctx context.Context, args []string, _ io.Reader, _, stderr io.Writer) int {
	flags := flag.NewFlagSet("init", flag.ContinueOnError)
	flags.SetOutput(stderr)
	stop := flags.String("stop-signal", "SIGTERM", "signal that asks the program to end")
	grace := flags.Duration("grace", 10*time.Second, "time for the program to end before it is killed, at a restart")
	restart := flags.String("restart", "no", "start a program that ended again: no, always, unless-stopped, on-failure")
	once := flags.Bool("once", false, "end with the program")
	var limits []supervise.Limit
	flags.Func("ulimit", "resource limit of the program, `NAME=SOFT:HARD`", func(text string) error {
		limit, err := supervise.ParseLimit(text)
		limits = append(limits, limit)
		return err
	})
	hold := flags.Duration("hold", 0, "how long to wait for berth before the first start")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	sig, err := supervise.ParseSignal(*stop)
	if err != nil {
		fmt.Fprintln(stderr, "berth:", err)
		return 2
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	var control *supervise.Control
	if !*once {
		if control, err = supervise.Listen(); err != nil { // the program runs all the same, without restarts
			fmt.Fprintf(stderr, "berth: no restarts in this container: %v\n", err)
		}
	}
	status, err := supervise.Run(ctx, supervise.Options{
		Command: flags.Args(), StopSignal: sig, Grace: *grace, Restart: *restart, Hold: *hold, Once: *once, Limits: limits,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Log: stderr, Control: control, Signals: signals,
	})
	if err != nil {
		fmt.Fprintln(stderr, "berth:", err)
		return 2
	}
	return status
}
