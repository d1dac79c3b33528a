package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/devloop/bench/tree"
	"github.com/berth-dev/berth/devloop/devtest"
)

// fill writes count files, a hundred a directory, whose content is a text and
// their number.
func fill(dir string, count int, text string) error {
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("d%04d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%02d", i%100)), fmt.Appendf(nil, "%s %d", text, i), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// switchBranch changes many files at once, as git does, and waits until every
// replica has them all.
func (b *bench) switchBranch(ctx context.Context, d *devtest.Dev, dir string, replicas int) error {
	files := filepath.Join(dir, "tree")
	r := &row{path: fmt.Sprintf("branch switch, %d files", b.branch), replicas: replicas, parts: map[string][]time.Duration{}}
	b.rows = append(b.rows, r)
	for n := range min(b.edits, 5) {
		from := d.Count()
		if err := fill(files, b.branch, version(n)); err != nil {
			return err
		}
		begin := time.Now()
		want, err := tree.Digest(files)
		if err != nil {
			return err
		}
		if err := b.served(ctx, "live", "/tree", want, replicas, 200*time.Millisecond); err != nil {
			return err
		}
		r.took = append(r.took, time.Since(begin))
		if e, err := d.Await(ctx, from, 30*time.Second, func(e devtest.Event) bool { return e.Service == "live" && e.Event == "serving" }); err == nil {
			r.add(e)
		}
		fmt.Fprintf(b.log, "%s: %s\n", r.path, r.took[n].Round(time.Millisecond))
	}
	if err := os.RemoveAll(files); err != nil {
		return err
	}
	return os.Mkdir(files, 0o755) // an image is built from it
}

// idleFor is how long the cost of doing nothing is measured.
const idleFor = 30 * time.Second

// idleCost runs berth over a directory with many files and measures what it
// takes to watch them.
func (b *bench) idleCost(ctx context.Context, d *devtest.Dev, dir string) (err error) {
	if err := d.Stop(); err != nil {
		return err
	}
	if err := fill(filepath.Join(dir, "many"), b.idle, "idle"); err != nil {
		return err
	}
	again, err := b.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Stop()) }()
	pid := again.PID()
	if err := sleep(ctx, 10*time.Second); err != nil { // what the start has left to do
		return err
	}
	before, err := cpuTime(pid)
	if err != nil {
		return err
	}
	if err := sleep(ctx, idleFor); err != nil {
		return err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return err
	}
	rss, err := memory(pid)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "idle, %d files watched: %.2f %% of a CPU, %d MB resident\n", b.idle, 100*float64(after-before)/float64(idleFor), rss>>20)
	return nil
}

// cpuTime is what a process has used so far (proc_pid_stat(5): utime and stime,
// in ticks of 10 ms).
func cpuTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	user, err1 := strconv.Atoi(fields[utime])
	system, err2 := strconv.Atoi(fields[stime])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// memory is the resident memory of a process in bytes.
func memory(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("process %d tells nothing of its memory", pid)
}
