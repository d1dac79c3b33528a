// Command bench measures what a developer feels: the time from the save of a
// file until every replica serves it, for each way `berth dev` has, on a running
// cluster that berth made; and what watching costs. With -soak it edits for
// hours instead and checks that nothing is lost or left. It is no part of berth;
// `make bench-devloop` and `make soak` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

type options struct {
	cluster  string
	berth    string
	httpPort int
	port     int
	edits    int
	replicas []int
	paths    []string
	baseMB   int
	layerMB  int
	idle     int
	branch   int
	soak     time.Duration
	seed     int64
	keep     bool
}

func parse(args []string, errOut io.Writer) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	var o options
	flags.StringVar(&o.cluster, "cluster", "berth-test", "cluster to run on")
	flags.StringVar(&o.berth, "berth", "", "berth binary; default: built from this checkout")
	flags.IntVar(&o.httpPort, "http-port", 8480, "host port of the cluster's ingress")
	flags.IntVar(&o.port, "port", 18100, "first of the host ports to publish")
	flags.IntVar(&o.edits, "edits", 30, "edits a path")
	flags.IntVar(&o.baseMB, "base", 212, "MB of the image that stay")
	flags.IntVar(&o.layerMB, "layer", 8, "MB of the image that change")
	flags.IntVar(&o.idle, "idle", 100_000, "files to watch when the cost of doing nothing is measured; 0: leave it out")
	flags.IntVar(&o.branch, "branch", 10_000, "files of a branch switch; 0: leave it out")
	flags.DurationVar(&o.soak, "soak", 0, "edit at random for this long instead of measuring")
	flags.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "of the soak's random edits")
	flags.BoolVar(&o.keep, "keep", false, "leave the project running in the end")
	replicas := flags.String("replicas", "1,3", "numbers of replicas")
	paths := flags.String("paths", "sync,sync+restart,rebuild", "ways to measure")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.paths = strings.FieldsFunc(*paths, func(r rune) bool { return r == ',' })
	for _, s := range strings.Split(*replicas, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("replicas %q: not a number from 1", s)
		}
		o.replicas = append(o.replicas, n)
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	o, err := parse(args, errOut)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.berth == "" {
		o.berth = filepath.Join(dir, "berth")
		if err := goBuild(ctx, errOut, o.berth, "./cmd/berth"); err != nil {
			return err
		}
	}
	api, err := connect("kind-" + o.cluster)
	if err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, api: api, out: out, log: errOut}
	if o.soak > 0 {
		return b.runSoak(ctx)
	}
	server := filepath.Join(dir, "server")
	if err := goBuild(ctx, errOut, server, "./devloop/bench/server"); err != nil {
		return err
	}
	for _, n := range o.replicas {
		if err := b.measure(ctx, server, n); err != nil {
			return errors.Join(err, b.print())
		}
	}
	return b.print()
}

// goBuild builds a static program for this machine, which is the nodes', too.
func goBuild(ctx context.Context, log io.Writer, program, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}
