package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A command is a program of this machine that a step runs.
type command struct {
	dir  string
	env  []string // added to this process's
	argv []string
}

// run runs the command to its end. Every line it prints goes to the task's
// log; the last ones are in the error.
func (c command) run(ctx context.Context, task *progress.Task) error {
	var tail tailLines
	out := &lineWriter{line: func(l string) {
		task.Log(l)
		tail.add(l)
	}}
	err := c.start(ctx, out, out)
	out.flush()
	if err != nil {
		return fmt.Errorf("%s: %w%s", strings.Join(c.argv[:min(3, len(c.argv))], " "), err, tail.indented())
	}
	return nil
}

// output runs the command and returns its standard output.
func (c command) output(ctx context.Context) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	if err := c.start(ctx, &stdout, &stderr); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(c.argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

func (c command) start(ctx context.Context, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return problem.New(fmt.Sprintf("run %q", c.argv[0]), exec.ErrNotFound, "install "+c.argv[0]+", then run the command again")
	}
	return err
}

// attempts is how often a step that uses the network is tried.
const attempts = 3

// retry runs f again after a fault, with a growing pause, unless ctx ended.
func retry(ctx context.Context, task *progress.Task, f func() error) error {
	var err error
	for i := range attempts {
		if i > 0 {
			task.Update(fmt.Sprintf("attempt %d of %d after: %s", i+1, attempts, firstLine(err)))
			select {
			case <-time.After(time.Duration(i) * 3 * time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err = f()
		if err == nil || ctx.Err() != nil || errors.Is(err, errFinal) {
			return err
		}
	}
	return err
}

// errFinal marks an error that trying again cannot cure.
var errFinal = errors.New("not worth another try")

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// tailLines keeps the last lines of a command's output.
type tailLines []string

func (t *tailLines) add(line string) {
	*t = append(*t, line)
	if len(*t) > 15 {
		*t = (*t)[1:]
	}
}

func (t tailLines) indented() string {
	if len(t) == 0 {
		return ""
	}
	return "\n  " + strings.Join(t, "\n  ")
}

// lineWriter calls line for every line written to it.
type lineWriter struct {
	line func(string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.emit(w.rest[:i])
		w.rest = w.rest[i+1:]
	}
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.emit(w.rest)
		w.rest = nil
	}
}

func (w *lineWriter) emit(line []byte) {
	// Package managers redraw a line with carriage returns; the last state counts.
	if i := bytes.LastIndexByte(bytes.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:]
	}
	w.line(strings.TrimRight(string(line), "\r"))
}

// startBeat reports once a second how long a task has been at what it does,
// until the returned function is called.
func startBeat(task *progress.Task, doing string) (stop func()) {
	begin := time.Now()
	ticker := time.NewTicker(time.Second)
	done := make(chan struct{})
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				task.Update(fmt.Sprintf("%s (%s)", doing, time.Since(begin).Round(time.Second)))
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}
