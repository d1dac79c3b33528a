// Package devtest runs `berth dev` as users and editors do: as a process whose
// JSON lines are read. The bench and the end-to-end tests drive it.
package devtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// An Event is one line of `berth dev --format json`.
type Event struct {
	Event, Service, Action, Cause, Why, How, Error, Line string
	Files, Replicas                                      int
	Steps                                                []struct {
		Name string
		MS   float64
	}
	TotalMS float64 `json:"totalMs"`
}

// A Dev is a running `berth dev`.
type Dev struct {
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // how it ended
	stopped bool

	mu     sync.Mutex
	events []Event
	news   chan struct{}
}

// Start runs berth with args in dir; log gets what it says besides.
func Start(log io.Writer, berth, dir string, args ...string) (*Dev, error) {
	d := &Dev{done: make(chan struct{}), news: make(chan struct{})}
	d.cmd = exec.Command(berth, args...)
	d.cmd.Dir, d.cmd.Stderr = dir, log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.done)
		d.read(out, log)
		d.err = d.cmd.Wait()
	}()
	return d, nil
}

func (d *Dev) read(out io.Reader, log io.Writer) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(log, "not an event:", lines.Text())
			continue
		}
		if e.Event == "failed" || e.Event == "warn" {
			fmt.Fprintln(log, lines.Text())
		}
		d.mu.Lock()
		d.events = append(d.events, e)
		close(d.news)
		d.news = make(chan struct{})
		d.mu.Unlock()
	}
}

// PID is the process's.
func (d *Dev) PID() int { return d.cmd.Process.Pid }

// Count is how many events there are so far.
func (d *Dev) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.events)
}

// Events are those from the given number on.
func (d *Dev) Events(from int) []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Event(nil), d.events[min(from, len(d.events)):]...)
}

// Serving waits until the whole project serves for the first time, or part of
// it fails.
func (d *Dev) Serving(ctx context.Context) error {
	const patience = 5 * time.Minute
	e, err := d.Await(ctx, 0, patience, func(e Event) bool { return e.Event == "serving" && e.Service == "" || e.Event == "failed" })
	if err == nil && e.Event == "failed" {
		err = errors.New(e.Error)
	}
	return err
}

// Await returns the first event from the given number on that matches.
func (d *Dev) Await(ctx context.Context, from int, patience time.Duration, match func(Event) bool) (Event, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		d.mu.Lock()
		news := d.news
		for ; from < len(d.events); from++ {
			if match(d.events[from]) {
				defer d.mu.Unlock()
				return d.events[from], nil
			}
		}
		d.mu.Unlock()
		select {
		case <-news:
		case <-d.done:
			return Event{}, errors.Join(errors.New("berth dev has ended"), d.err)
		case <-late.C:
			return Event{}, fmt.Errorf("no such event within %s", patience)
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Running reports whether the process has not ended.
func (d *Dev) Running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Stop ends berth as Ctrl-C does and waits for that. It is an error when berth
// has ended before, or ends in another way than an interrupted command does. A
// second Stop does nothing.
func (d *Dev) Stop() error {
	if d.stopped {
		return nil
	}
	d.stopped = true
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		<-d.done
		return errors.Join(errors.New("berth dev has ended by itself"), d.err)
	}
	const patience = 20 * time.Second
	const interrupted = 130
	select {
	case <-d.done:
		if code := d.cmd.ProcessState.ExitCode(); code != interrupted {
			return fmt.Errorf("berth dev ended with status %d after Ctrl-C, not %d", code, interrupted)
		}
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("berth dev does not end %s after Ctrl-C", patience), d.cmd.Process.Kill())
	}
}
