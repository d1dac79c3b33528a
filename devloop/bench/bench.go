package main

import (
	"cmp"
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
	"sync"
	"text/tabwriter"
	"time"

	"github.com/berth-dev/berth/devloop/devtest"
)

const projectName = "berth-bench"

type bench struct {
	options
	dir  string
	api  *api
	out  io.Writer
	log  io.Writer
	rows []*row
}

// A row is what was measured of one path.
type row struct {
	path     string
	replicas int
	took     []time.Duration // save to served by every replica
	steps    []string        // names, in the order they were first seen
	parts    map[string][]time.Duration
	requests int
	failed   int
}

// compose is the project: one service for files that are synced, one whose
// image is built again.
const compose = `name: berth-bench
services:
  live:
    build: {context: ., dockerfile: live.Dockerfile}
    deploy: {replicas: %[1]d}
    develop:
      watch:
        - {action: sync, path: ./live, target: /live}
        - {action: sync, path: ./tree, target: /tree}
        - {action: sync, path: ./many, target: /many}
        - {action: sync+restart, path: ./boot, target: /boot}
  image:
    build: {context: ., dockerfile: image.Dockerfile}
    ports: ["%[2]d:8080"]
    deploy: {replicas: %[1]d}
    develop:
      watch:
        - {action: rebuild, path: ./layer}
`

// prepare writes the project.
func (b *bench) prepare(server string, replicas int) (string, error) {
	dir := filepath.Join(b.dir, "project")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	for _, sub := range []string{"live", "boot", "layer", "base", "tree", "many"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", err
		}
	}
	program, err := os.ReadFile(server)
	if err != nil {
		return "", err
	}
	write := func(name, content string, mode os.FileMode) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(content), mode)
	}
	return dir, errors.Join(
		write("compose.yaml", fmt.Sprintf(compose, replicas, b.port), 0o644),
		write("server", string(program), 0o755),
		write("live.Dockerfile", "FROM scratch\nCOPY server /server\nCOPY live /live\nCOPY boot /boot\nCOPY tree /tree\nENTRYPOINT [\"/server\"]\n", 0o644),
		write("image.Dockerfile", "FROM scratch\nCOPY base /base\nCOPY server /server\nCOPY layer /layer\nENTRYPOINT [\"/server\"]\n", 0o644),
		write("live/version", version(0), 0o644), write("boot/version", version(0), 0o644),
		random(filepath.Join(dir, "base", "data"), "", b.baseMB), random(filepath.Join(dir, "layer", "app"), version(0), b.layerMB),
	)
}

// version is 16 bytes that no other run writes.
func version(n int) string { return fmt.Sprintf("v%-5d%010d", n, time.Now().UnixNano()%10_000_000_000) }

// random writes a file that begins with a head and does not compress.
func random(name, head string, mb int) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*~")
	if err != nil {
		return err
	}
	_, headErr := f.WriteString(head)
	_, err = io.CopyN(f, rand.Reader, int64(mb)<<20)
	return errors.Join(headErr, err, f.Chmod(0o644), f.Close(), os.Rename(f.Name(), name))
}

// replace saves a file as editors do.
func replace(name, content string) error { return random(name, content, 0) }

// measure runs every path with a number of replicas.
func (b *bench) measure(ctx context.Context, server string, replicas int) (err error) {
	dir, err := b.prepare(server, replicas)
	if err != nil {
		return err
	}
	defer func() {
		if !b.keep {
			err = errors.Join(err, b.down(context.WithoutCancel(ctx), dir))
		}
	}()
	d, err := b.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	for _, path := range b.paths {
		if err := b.edit(ctx, d, dir, path, replicas); err != nil {
			return fmt.Errorf("%s, %d replicas: %w", path, replicas, err)
		}
	}
	if b.branch > 0 && replicas == slices.Max(b.replicas) {
		if err := b.switchBranch(ctx, d, dir, replicas); err != nil {
			return err
		}
	}
	if b.idle > 0 && replicas == slices.Max(b.replicas) {
		return b.idleCost(ctx, d, dir)
	}
	return nil
}

// start runs `berth dev` and waits until the project serves.
func (b *bench) start(ctx context.Context, dir string) (*devtest.Dev, error) {
	d, err := devtest.Start(b.log, b.berth, dir, "--cluster", b.cluster, "dev", "--no-logs", "--format", "json")
	if err != nil {
		return nil, err
	}
	if err := d.Serving(ctx); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

func (b *bench) down(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.berth, "--cluster", b.cluster, "--progress", "quiet", "down", "--volumes", "--rmi", "local")
	cmd.Dir, cmd.Stderr = dir, b.log
	return cmd.Run()
}

// A way is how one path is edited and seen.
type way struct {
	service, file, served string
	save                  func(name, version string) error
	ask                   time.Duration // between two questions whether it is served
}

func (b *bench) wayOf(path string) (way, error) {
	switch path {
	case "sync":
		return way{"live", "live/version", "/live", replace, 5 * time.Millisecond}, nil
	case "sync+restart":
		return way{"live", "boot/version", "/boot", replace, 5 * time.Millisecond}, nil
	case "rebuild":
		// Every question goes through the API server, which a rebuild needs, too.
		return way{"image", "layer/app", "/layer", func(name, version string) error { return random(name, version, b.layerMB) }, 50 * time.Millisecond}, nil
	}
	return way{}, fmt.Errorf("there is no path %q", path)
}

// edit measures one path.
func (b *bench) edit(ctx context.Context, d *devtest.Dev, dir, path string, replicas int) error {
	w, err := b.wayOf(path)
	if err != nil {
		return err
	}
	r := &row{path: path, replicas: replicas, parts: map[string][]time.Duration{}}
	b.rows = append(b.rows, r)
	if path == "rebuild" {
		load := b.startLoad(ctx, "image."+projectName+".localhost")
		defer func() { r.requests, r.failed = load.stop() }()
	}
	for n := range b.edits {
		from, next := d.Count(), version(n+1)
		if err := w.save(filepath.Join(dir, w.file), next); err != nil {
			return err
		}
		begin := time.Now()
		if err := b.served(ctx, w.service, w.served, next, replicas, w.ask); err != nil {
			return err
		}
		r.took = append(r.took, time.Since(begin))
		e, err := d.Await(ctx, from, 30*time.Second, func(e devtest.Event) bool {
			return e.Service == w.service && (e.Event == "serving" || e.Event == "failed")
		})
		if err != nil {
			return err
		}
		if e.Event == "failed" {
			return errors.New(e.Error)
		}
		r.add(e)
		fmt.Fprintf(b.log, "%s x%d: edit %d served in %s, berth says %.0f ms (%s)\n", path, replicas, n+1, r.took[n].Round(time.Millisecond), e.TotalMS, cmp.Or(e.How, e.Why))
	}
	return nil
}

// served waits until every replica serves a version, asking each so often.
func (b *bench) served(ctx context.Context, service, path, want string, replicas int, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	done := map[string]bool{}
	for {
		pods, err := b.api.pods(ctx, projectName, service)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		var asking sync.WaitGroup
		for _, pod := range pods {
			if done[pod] {
				continue
			}
			asking.Go(func() {
				for range 20 { // then the list of pods is looked at again
					if got, err := b.api.ask(ctx, projectName, pod, path); err == nil && got == want {
						mu.Lock()
						done[pod] = true
						mu.Unlock()
						return
					}
					if sleep(ctx, every) != nil {
						return
					}
				}
			})
		}
		asking.Wait()
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d replicas serve %q: %w", len(done), replicas, want, context.Cause(ctx))
		}
		if len(pods) == replicas && !slices.ContainsFunc(pods, func(p string) bool { return !done[p] }) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// add takes over the waterfall of a change.
func (r *row) add(e devtest.Event) {
	for _, s := range e.Steps {
		if !slices.Contains(r.steps, s.Name) {
			r.steps = append(r.steps, s.Name)
		}
		r.parts[s.Name] = append(r.parts[s.Name], time.Duration(s.MS*float64(time.Millisecond)))
	}
}

// print writes the table.
func (b *bench) print() error {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "path\treplicas\tedits\tp50 ms\tp95 ms\tmax ms\trequests failed\twaterfall (p50, ms)")
	for _, r := range b.rows {
		if len(r.took) == 0 {
			continue
		}
		failed := "-"
		if r.requests > 0 {
			failed = fmt.Sprintf("%d of %d", r.failed, r.requests)
		}
		var parts []string
		for _, name := range r.steps {
			parts = append(parts, fmt.Sprintf("%s %d", name, percentile(r.parts[name], 50).Milliseconds()))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", r.path, r.replicas, len(r.took), percentile(r.took, 50).Milliseconds(),
			percentile(r.took, 95).Milliseconds(), percentile(r.took, 100).Milliseconds(), failed, strings.Join(parts, " · "))
	}
	return w.Flush()
}

// percentile of a list, by nearest rank.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(list), cmp.Compare)
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
