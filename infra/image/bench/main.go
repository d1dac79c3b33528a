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
	"syscall"

	"github.com/berth-dev/berth/infra/docker"
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

// The stores of images.
const (
	own   = "own"
	graph = "graph"
)

// A scenario is an image size and how much of it changes, in MB.
type scenario struct{ size, change int }

type options struct {
	cluster   string
	stores    []string
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
	stores := flags.String("stores", own+","+graph, "image stores: of the engine that runs the nodes ("+own+"), and of a second one with a graph driver ("+graph+")")
	quick := flags.Bool("quick", false, "220 MB, 3 nodes, 3 rounds: a few minutes")
	flags.IntVar(&o.rounds, "rounds", 5, "runs of each tool with a changed layer and with nothing missing")
	flags.IntVar(&o.fresh, "fresh", 1, "runs of each tool with a fresh image")
	sizes := flags.String("sizes", "20:1,220:8,1000:1", "image sizes and changes, MB:MB")
	nodes := flags.String("nodes", "3,1", "numbers of nodes to load into")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		*sizes, *nodes, o.rounds = "220:8", "3", 3
	}
	o.stores = strings.Split(*stores, ",")
	for _, s := range o.stores {
		if s != own && s != graph {
			return o, fmt.Errorf("unknown store %q: use %s or %s", s, own, graph)
		}
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
	b := &bench{engine: engine, options: o, dir: dir, log: errOut, cache: filepath.Join(dir, "cache")}
	if err := b.tools(ctx); err != nil {
		return err
	}
	for _, store := range o.stores {
		if err = b.run(ctx, store); err != nil {
			break
		}
	}
	return errors.Join(err, b.print(out))
}

// run measures everything with the images in one store.
func (b *bench) run(ctx context.Context, store string) (err error) {
	b.store, b.source, b.graphHost = store, b.engine, ""
	if store == graph {
		second, host, stop, startErr := startGraph(ctx, b.dir, b.log)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, second.Close(), stop()) }()
		b.source, b.graphHost = second, host
	}
	return errors.Join(b.all(ctx), b.clean(context.WithoutCancel(ctx)))
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
