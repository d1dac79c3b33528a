// Command bench times `berth load` against `kind load docker-image` on a
// running kind cluster: the same images, the tools in turn, medians as a table.
// It is no part of berth; `make bench-images` runs it.
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

	"github.com/berth-dev/berth/infra/docker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// A scenario is an image size and how much of it changes, in MB.
type scenario struct{ size, change int }

type options struct {
	cluster   string
	graphHost string
	rounds    int
	fresh     int
	scenarios []scenario
	nodes     []int
}

func parse(args []string, errOut io.Writer) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	o := options{}
	flags.StringVar(&o.cluster, "cluster", "berth-test", "kind cluster to load into")
	flags.StringVar(&o.graphHost, "images-host", "", "engine that holds the images, if it is not the nodes' own: one with a graph driver")
	flags.IntVar(&o.rounds, "rounds", 5, "runs of each tool with a changed layer and with nothing missing")
	flags.IntVar(&o.fresh, "fresh", 1, "runs of each tool with a fresh image")
	sizes := flags.String("sizes", "20:1,220:8,1000:1", "image sizes and changes, MB:MB")
	nodes := flags.String("nodes", "3,1", "numbers of nodes to load into")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, s := range strings.Split(*sizes, ",") {
		var x scenario
		if _, err := fmt.Sscanf(s, "%d:%d", &x.size, &x.change); err != nil || x.size <= x.change {
			return o, fmt.Errorf("size %q is not MB:MB", s)
		}
		o.scenarios = append(o.scenarios, x)
	}
	for _, s := range strings.Split(*nodes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return o, fmt.Errorf("nodes %q: %w", s, err)
		}
		o.nodes = append(o.nodes, n)
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
	engine, err := docker.New(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	source := engine
	if o.graphHost != "" {
		if err := os.Setenv("DOCKER_HOST", o.graphHost); err != nil {
			return err
		}
		if source, err = docker.New(ctx); err != nil {
			return err
		}
		defer source.Close()
		if err := os.Unsetenv("DOCKER_HOST"); err != nil {
			return err
		}
	}
	b := &bench{engine: engine, source: source, options: o, dir: dir, log: errOut, cache: filepath.Join(dir, "cache")}
	if err := b.tools(ctx); err != nil {
		return err
	}
	err = b.all(ctx)
	return errors.Join(err, b.clean(context.WithoutCancel(ctx)), b.print(out))
}

// tools builds both programs, so that neither is measured with `go run`.
func (b *bench) tools(ctx context.Context) error {
	for name, pkg := range map[string]string{"berth": "./cmd/berth", "kind": "sigs.k8s.io/kind"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.dir, name), pkg)
		cmd.Stderr = b.log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	return nil
}
