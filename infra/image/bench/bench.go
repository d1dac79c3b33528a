package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

const repository = "berth.test/bench"

type bench struct {
	options
	engine *docker.Client // runs the nodes
	dir    string         // of the two programs
	cache  string         // of layers, for berth
	log    io.Writer
	rows   []*row

	store     string
	source    *docker.Client // holds the images
	graphHost string         // its address, if it is not engine
}

// A row is what was measured of one case.
type row struct {
	store       string
	size, nodes int
	what        string
	kind, berth []time.Duration // whole commands
	loop        []time.Duration // the load alone, in a process that goes on
}

func (b *bench) all(ctx context.Context) error {
	for _, s := range b.scenarios {
		for _, n := range b.nodes {
			if err := b.scenario(ctx, s, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) scenario(ctx context.Context, s scenario, count int) error {
	all, err := image.NodesOf(ctx, b.engine, b.cluster)
	if err != nil {
		return err
	}
	if len(all) < count {
		return fmt.Errorf("cluster %q runs %d nodes, not %d", b.cluster, len(all), count)
	}
	slices.SortFunc(all, func(x, y *image.KindNode) int { // workers first
		if x.ControlPlane() != y.ControlPlane() {
			if y.ControlPlane() {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Name(), y.Name())
	})
	r := &runner{bench: b, scenario: s, nodes: all[:count], context: filepath.Join(b.dir, fmt.Sprint("context-", s.size))}
	defer func() {
		for _, n := range all {
			n.Close()
		}
	}()
	if r.images, err = image.New(b.source, image.Options{CacheDir: filepath.Join(b.cache, "berth", "images")}); err != nil {
		return err
	}
	if r.strangers, err = image.New(b.source, image.Options{CacheDir: filepath.Join(b.dir, "strangers")}); err != nil {
		return err
	}
	if err := r.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(r.context)
	return errors.Join(r.measure(ctx), r.wipe(context.WithoutCancel(ctx)))
}

// A runner measures one scenario on some nodes.
type runner struct {
	*bench
	scenario
	nodes     []*image.KindNode
	images    *image.Images
	strangers *image.Images // with a layout of its own: whoever runs `berth load` may have built with anything
	context   string
}

func (r *runner) prepare() error {
	if err := os.MkdirAll(r.context, 0o755); err != nil {
		return err
	}
	dockerfile := "FROM scratch\nCOPY base /base\nCOPY app /app\n"
	return errors.Join(os.WriteFile(filepath.Join(r.context, "Dockerfile"), []byte(dockerfile), 0o644), r.random("base", r.size-r.change), r.random("app", r.change))
}

func (r *runner) random(name string, mb int) error {
	f, err := os.Create(filepath.Join(r.context, name))
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, int64(mb)<<20)
	return errors.Join(err, f.Close())
}

func (r *runner) ref() string { return fmt.Sprintf("%s:%dmb", repository, r.size) }

func (r *runner) build(ctx context.Context) (string, error) {
	facts, err := r.images.Build(ctx, r.spec(), progress.Discard)
	return facts.Ref, err
}

func (r *runner) spec() model.BuildSpec {
	return model.BuildSpec{Name: r.ref(), Project: "berth-bench", Context: r.context}
}

func (r *runner) measure(ctx context.Context) error {
	if _, err := r.strangers.Build(ctx, r.spec(), progress.Discard); err != nil {
		return err
	}
	fresh := r.row("fresh")
	for n := range r.fresh {
		if err := r.inTurn(ctx, n, fresh, func(ctx context.Context) error {
			return errors.Join(r.wipe(ctx), os.RemoveAll(filepath.Join(r.cache, "berth")))
		}); err != nil {
			return err
		}
	}
	// Both tools start from nodes that have the image before.
	if err := r.berth(ctx); err != nil {
		return err
	}
	changed, same := r.row(fmt.Sprintf("%d MB changed", r.change)), r.row("nothing missing")
	for n := range r.rounds {
		if err := r.inTurn(ctx, n, changed, r.another); err != nil {
			return err
		}
		if err := r.inTurn(ctx, n, same, func(context.Context) error { return nil }); err != nil {
			return err
		}
	}
	return r.loop(ctx, changed)
}

// another rebuilds the image with another upper layer, unknown to berth's
// layout.
func (r *runner) another(ctx context.Context) error {
	if err := r.random("app", r.change); err != nil {
		return err
	}
	_, err := r.strangers.Build(ctx, r.spec(), progress.Discard)
	return err
}

// inTurn runs both tools after prepare, each first in every second round.
func (r *runner) inTurn(ctx context.Context, round int, to *row, prepare func(context.Context) error) error {
	tools := []struct {
		name  string
		run   func(context.Context) error
		times *[]time.Duration
	}{{"kind", r.kind, &to.kind}, {"berth", r.berth, &to.berth}}
	if round%2 == 1 {
		slices.Reverse(tools)
	}
	for _, t := range tools {
		if err := prepare(ctx); err != nil {
			return err
		}
		start := time.Now()
		if err := t.run(ctx); err != nil {
			return fmt.Errorf("%s, %s: %w", t.name, to.what, err)
		}
		took := time.Since(start)
		*t.times = append(*t.times, took)
		fmt.Fprintf(r.log, "%s, %d MB, %d nodes, %s: %s %.2fs\n", to.store, to.size, to.nodes, to.what, t.name, took.Seconds())
	}
	return nil
}

// loop measures what the dev loop does: build and load in one process.
func (r *runner) loop(ctx context.Context, to *row) error {
	var nodes []image.Node
	for _, n := range r.nodes {
		nodes = append(nodes, n)
	}
	for n := range r.rounds + 1 {
		if err := r.random("app", r.change); err != nil {
			return err
		}
		ref, err := r.build(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := r.images.Load(ctx, []string{ref}, nodes, progress.Discard); err != nil {
			return err
		}
		took := time.Since(start)
		fmt.Fprintf(r.log, "%s, %d MB, %d nodes, in the loop: %.2fs\n", to.store, to.size, to.nodes, took.Seconds())
		if n > 0 { // the first fills the layout
			to.loop = append(to.loop, took)
		}
		if err := r.images.Prune(ctx, image.PruneRequest{Project: "berth-bench", Nodes: nodes}); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) nodeNames() string {
	var names []string
	for _, n := range r.nodes {
		names = append(names, n.Name())
	}
	return strings.Join(names, ",")
}

// kind runs `kind load docker-image` or, with another engine for the images,
// what that does: save all, load all.
func (r *runner) kind(ctx context.Context) error {
	kind := filepath.Join(r.dir, "kind")
	if r.source == r.engine {
		return r.command(ctx, kind, "load", "docker-image", r.ref(), "--name", r.cluster, "--nodes", r.nodeNames())
	}
	archive := filepath.Join(r.dir, "saved.tar")
	defer os.Remove(archive)
	if err := r.command(ctx, "docker", "--host", r.graphHost, "save", "-o", archive, r.ref()); err != nil {
		return err
	}
	return r.command(ctx, kind, "load", "image-archive", archive, "--name", r.cluster, "--nodes", r.nodeNames())
}

// berth runs `berth load` or, with another engine for the images, what that
// does, from the connection on.
func (r *runner) berth(ctx context.Context) error {
	if r.source == r.engine {
		return r.command(ctx, filepath.Join(r.dir, "berth"), "load", r.ref(), "--cluster", r.cluster, "--nodes", r.nodeNames())
	}
	images, err := image.New(r.source, image.Options{CacheDir: filepath.Join(r.cache, "berth", "images")})
	if err != nil {
		return err
	}
	var nodes []image.Node
	for _, n := range r.nodes {
		fresh := image.NewNode(r.engine, n.Name())
		defer fresh.Close()
		nodes = append(nodes, fresh)
	}
	_, err = images.Load(ctx, []string{r.ref()}, nodes, progress.Discard)
	return err
}

func (r *runner) command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+r.cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// wipe removes the bench's images from the nodes, with the records that either
// tool left for them.
func (r *runner) wipe(ctx context.Context) error {
	for _, n := range r.nodes {
		list, err := n.Images(ctx)
		if err != nil {
			return err
		}
		var names []string
		for _, img := range list {
			if slices.ContainsFunc(list, func(other image.NodeImage) bool {
				return other.Target == img.Target && strings.HasPrefix(other.Name, repository)
			}) {
				names = append(names, img.Name)
			}
		}
		// Superseded images have lost their name, but kind's records stay.
		for _, img := range list {
			if strings.HasPrefix(img.Name, "import-") || strings.HasPrefix(img.Name, repository) {
				names = append(names, img.Name)
			}
		}
		if err := n.Remove(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// clean removes the bench's images from the engine.
func (b *bench) clean(ctx context.Context) error {
	images, err := b.source.Images(ctx)
	if err != nil {
		return err
	}
	for _, img := range images {
		for _, tag := range img.Tags {
			if strings.HasPrefix(tag, repository+":") {
				err = errors.Join(err, b.source.RemoveImage(ctx, tag))
			}
		}
	}
	return err
}

func (r *runner) row(what string) *row {
	x := &row{store: r.store, size: r.size, nodes: len(r.nodes), what: what}
	r.rows = append(r.rows, x)
	return x
}

func (b *bench) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "STORE\tIMAGE\tNODES\tCASE\tKIND\tBERTH\tRATIO\tIN THE LOOP")
	for _, r := range b.rows {
		k, m := median(r.kind), median(r.berth)
		ratio := "-"
		if m > 0 {
			ratio = fmt.Sprintf("%.1f", k.Seconds()/m.Seconds())
		}
		fmt.Fprintf(w, "%s\t%d MB\t%d\t%s\t%s\t%s\t%s\t%s\n", r.store, r.size, r.nodes, r.what, seconds(k), seconds(m), ratio, seconds(median(r.loop)))
	}
	return w.Flush()
}

func median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
