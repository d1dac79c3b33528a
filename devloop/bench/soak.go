package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-dev/berth/devloop/devtest"
)

// soakOverride changes the vote example so that edits are synced, and its ports.
const soakOverride = `name: berth-soak
services:
  vote:
    ports: !override ["%d:80"]
    deploy: {replicas: 3}
    develop: !override
      watch:
        - {action: sync+restart, path: ./vote, target: /app, ignore: ["*.tmp"]}
  result:
    ports: !override ["%d:80"]
`

// A soak edits one service at random for a long time.
type soak struct {
	*bench
	dir    string // of the project
	source string // what is edited: the directory of the service vote
	good   []byte // app.py as it works
	rand   *rand.Rand
	dev    *devtest.Dev
	memory []int64
	done   map[string]int // edits by kind
}

const (
	soakProject  = "berth-soak"
	soakPods     = 3
	convergeIn   = 90 * time.Second
	editsAtOnce  = 12 // between two comparisons
	memorySlack  = 16 << 20
	agentCommand = "/usr/local/lib/berth/agent\x00serve"
)

// runSoak edits until the time is over and fails on the first difference that
// stays.
func (b *bench) runSoak(ctx context.Context) (err error) {
	s := &soak{bench: b, dir: filepath.Join(b.dir, "vote"), rand: rand.New(rand.NewSource(b.seed)), done: map[string]int{}} //nolint:gosec // edits, not secrets
	s.source = filepath.Join(s.dir, "vote")
	temp := filepath.Join(b.dir, "temp")
	if err := errors.Join(os.CopyFS(s.dir, os.DirFS("examples/vote")), os.Mkdir(temp, 0o755), os.Setenv("TMPDIR", temp),
		os.WriteFile(filepath.Join(s.dir, "compose.override.yaml"), fmt.Appendf(nil, soakOverride, b.port, b.port+1), 0o644)); err != nil {
		return err
	}
	// What is left out of the image would look like what a sync has lost.
	if err := os.Remove(filepath.Join(s.source, ".dockerignore")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.good, err = os.ReadFile(filepath.Join(s.source, "app.py")); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "soak: %s of random edits, seed %d\n", b.soak, b.seed)
	agents := processes(agentCommand)
	defer func() {
		if !b.keep {
			err = errors.Join(err, b.down(context.WithoutCancel(ctx), s.dir))
		}
	}()
	if s.dev, err = b.start(ctx, s.dir); err != nil {
		return err
	}
	err = errors.Join(s.edit(ctx), s.dev.Stop())
	return errors.Join(err, s.flat(), s.nothingLeft(ctx, temp, agents))
}

// edit edits until the time is over.
func (s *soak) edit(ctx context.Context) error {
	for end := time.Now().Add(s.soak); time.Now().Before(end); {
		for range editsAtOnce {
			if err := s.once(ctx); err != nil {
				return err
			}
			if err := sleep(ctx, time.Duration(s.rand.Intn(400))*time.Millisecond); err != nil {
				return err
			}
		}
		if err := s.write("app.py", s.good); err != nil {
			return err
		}
		if err := s.converges(ctx); err != nil {
			s.tellEvents()
			return err
		}
		rss, err := memory(s.dev.PID())
		if err != nil {
			return err
		}
		s.memory = append(s.memory, rss)
		fmt.Fprintf(s.log, "equal on all replicas; %v; berth has %d MB; %s left\n", s.done, rss>>20, time.Until(end).Round(time.Second))
	}
	fmt.Fprintf(s.out, "soak: %v edits, compared %d times\n", s.done, len(s.memory))
	return nil
}

// tellEvents logs what berth did last, and where its goroutines stand, for whoever
// looks for the cause. It ends berth.
func (s *soak) tellEvents() {
	const last = 60
	for _, e := range s.dev.Events(max(0, s.dev.Count()-last)) {
		fmt.Fprintf(s.log, "%+v\n", e)
	}
	if p, err := os.FindProcess(s.dev.PID()); err == nil {
		_ = p.Signal(syscall.SIGQUIT) // it may have ended
	}
}

func (s *soak) write(name string, content []byte) error {
	path := filepath.Join(s.source, name)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
}

// once does one thing that developers do.
func (s *soak) once(ctx context.Context) error {
	n := s.rand.Intn(1 << 30)
	name := fmt.Sprintf("data/d%d/f%d.txt", n%5, n%23)
	kinds := []struct {
		name string
		do   func() error
	}{
		{"program", func() error { return s.write("app.py", fmt.Appendf(slices.Clone(s.good), "\n# %d\n", n)) }},
		{"crash", func() error { return s.write("app.py", fmt.Appendf(nil, "raise SystemExit(%d)\n", 1+n%100)) }},
		{"write", func() error { return s.write(name, fmt.Appendf(nil, "%d\n", n)) }},
		{"write", func() error { return s.write(name, bytes.Repeat([]byte{byte(n)}, n%(1<<20))) }},
		{"save as editors do", func() error {
			return errors.Join(s.write(name, []byte("old")), s.write(name+".tmp", fmt.Appendf(nil, "%d", n)),
				os.Rename(filepath.Join(s.source, name+".tmp"), filepath.Join(s.source, name)))
		}},
		{"remove", func() error { return os.RemoveAll(filepath.Join(s.source, name)) }},
		{"remove directory", func() error { return os.RemoveAll(filepath.Join(s.source, filepath.Dir(name))) }},
		{"directory for a file", func() error {
			return errors.Join(s.write(name, []byte("x")), os.RemoveAll(filepath.Join(s.source, name)), s.write(name+"/inner", []byte("y")),
				os.RemoveAll(filepath.Join(s.source, name)))
		}},
		{"same content", func() error {
			content, err := os.ReadFile(filepath.Join(s.source, "app.py"))
			return errors.Join(err, s.write("app.py", content))
		}},
		{"branch switch", func() error { return fill(filepath.Join(s.source, "branch"), 300, fmt.Sprint("branch ", n%3)) }},
		{"pod killed", func() error { return s.killPod(ctx) }},
	}
	k := kinds[n%len(kinds)]
	if k.name == "pod killed" && s.rand.Intn(4) > 0 { // now and then is enough
		k = kinds[0]
	}
	s.done[k.name]++
	return k.do()
}

// killPod deletes a pod; its successor must get all that was synced. An API server
// that is too busy to answer, or a pod that has just gone, is no fault of berth's.
func (s *soak) killPod(ctx context.Context) error {
	pods, err := s.api.pods(ctx, soakProject, "vote")
	if err == nil && len(pods) > 0 {
		err = s.api.delete(ctx, "/api/v1/namespaces/"+soakProject+"/pods/"+pods[s.rand.Intn(len(pods))])
	}
	if err != nil {
		fmt.Fprintln(s.log, "no pod was killed:", err)
	}
	return context.Cause(ctx)
}

// converges waits until the files of every replica equal those on disk.
func (s *soak) converges(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, convergeIn)
	defer cancel()
	var last string
	for {
		want, err := s.onDisk()
		if err != nil {
			return err
		}
		same := 0
		for i := range soakPods {
			got, err := s.inPod(ctx, i+1)
			if ctx.Err() != nil {
				return fmt.Errorf("not equal within %s: %s", convergeIn, last)
			}
			switch {
			case err != nil:
				last = err.Error()
			case got != want:
				last = firstDifference(want, got)
			default:
				same++
			}
		}
		if pods, err := s.api.pods(ctx, soakProject, "vote"); err == nil && same == soakPods && len(pods) == soakPods {
			return nil
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("not equal within %s: %s", convergeIn, last)
		}
	}
}

// onDisk lists the files of the service with a hash of each, as sha256sum does.
func (s *soak) onDisk() (string, error) {
	var lines []string
	err := filepath.WalkDir(s.source, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(name, ".tmp") {
			return err
		}
		rel, err := filepath.Rel(s.source, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		lines = append(lines, fmt.Sprintf("%x  ./%s", sha256.Sum256(content), filepath.ToSlash(rel)))
		return err
	})
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	return strings.Join(lines, "\n"), err
}

// inPod lists what the n-th replica has in the same form; what Python compiles
// for itself is left out.
func (s *soak) inPod(ctx context.Context, n int) (string, error) {
	cmd := exec.CommandContext(ctx, s.berth, "--cluster", s.cluster, "exec", "-T", "--index", fmt.Sprint(n), "vote",
		"sh", "-c", `cd /app && find . -type f -not -path '*/__pycache__/*' -exec sha256sum {} +`)
	cmd.Dir = s.dir
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines[0]) < 66 {
		return "", errors.Join(fmt.Errorf("replica %d cannot be asked", n), err)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	return strings.Join(lines, "\n"), nil
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			return "missing " + line
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			return "too much " + line
		}
	}
	return "order"
}

// flat reports memory that grows: the last quarter against the second.
func (s *soak) flat() error {
	n := len(s.memory)
	if n < 8 {
		return nil // too short to tell
	}
	early, late := slices.Max(s.memory[n/4:n/2]), slices.Max(s.memory[3*n/4:])
	fmt.Fprintf(s.out, "soak: memory %d MB in the second quarter, %d MB in the last\n", early>>20, late>>20)
	if late > early+early/5+memorySlack {
		return fmt.Errorf("memory grows from %d to %d MB", early>>20, late>>20)
	}
	return nil
}

// nothingLeft reports temporary files and agents that berth has left behind.
func (s *soak) nothingLeft(ctx context.Context, temp string, agents int) error {
	var errs []error
	left, err := os.ReadDir(temp)
	errs = append(errs, err)
	for _, f := range left {
		errs = append(errs, fmt.Errorf("temporary file %q is left", f.Name()))
	}
	for range 50 { // they end when they notice
		if processes(agentCommand) <= agents {
			break
		}
		if err := sleep(context.WithoutCancel(ctx), 100*time.Millisecond); err != nil {
			break
		}
	}
	if n := processes(agentCommand); n > agents {
		errs = append(errs, fmt.Errorf("%d agents are left on the nodes", n-agents))
	}
	return errors.Join(errs...)
}

// processes counts those whose command line begins in a certain way, those of
// the nodes included: their containers run on this machine.
func processes(command string) int {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0
	}
	n := 0
	for _, name := range found {
		if line, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(line), command) {
			n++
		}
	}
	return n
}
