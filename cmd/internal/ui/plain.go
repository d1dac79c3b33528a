package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/progress"
)

// silence is how long plain output says nothing while a task runs: no second
// passes without a word.
const silence = 900 * time.Millisecond

// plainRenderer prints one line an event, for logs and pipes. When nothing has
// happened for a while, one more line says what runs and since when, so that a
// long step does not look stuck.
type plainRenderer struct {
	w       io.Writer
	closing chan struct{}
	ended   sync.WaitGroup

	mu    sync.Mutex
	tasks []*plainTask // running, in the order they began
	spoke time.Time    // when the last line was printed
}

type plainTask struct {
	name, text     string
	current, total int64
	started        time.Time
}

func newPlainRenderer(w io.Writer) *plainRenderer {
	r := &plainRenderer{w: w, closing: make(chan struct{})}
	r.ended.Go(r.keepTalking)
	return r
}

func (r *plainRenderer) keepTalking() {
	ticker := time.NewTicker(silence / 10)
	defer ticker.Stop()
	for {
		select {
		case <-r.closing:
			return
		case now := <-ticker.C:
			r.breakSilence(now)
		}
	}
}

func (r *plainRenderer) Close() {
	close(r.closing)
	r.ended.Wait()
}

func (r *plainRenderer) Report(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.State == progress.Running {
		r.running(e)
		return
	}
	r.tasks = slices.DeleteFunc(r.tasks, func(t *plainTask) bool { return t.name == e.Task })
	r.print(e.Time, plainLine(e))
}

func (r *plainRenderer) Line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(time.Now(), text)
}

func (r *plainRenderer) print(now time.Time, line string) {
	r.spoke = now
	fmt.Fprintln(r.w, line)
}

func (r *plainRenderer) running(e progress.Event) {
	task := r.task(e)
	if e.Log != "" {
		r.print(e.Time, e.Task+" | "+e.Log)
		return
	}
	task.current, task.total = e.Current, e.Total
	if e.Text == "" || e.Text == task.text {
		return
	}
	task.text = e.Text
	r.print(e.Time, task.line())
}

// task is the task of an event, from its first event on.
func (r *plainRenderer) task(e progress.Event) *plainTask {
	i := slices.IndexFunc(r.tasks, func(t *plainTask) bool { return t.name == e.Task })
	if i < 0 {
		i = len(r.tasks)
		r.tasks = append(r.tasks, &plainTask{name: e.Task, started: e.Time})
	}
	return r.tasks[i]
}

// line is the task and what it is doing.
func (t *plainTask) line() string {
	line := t.name
	if t.text != "" {
		line += ": " + t.text
	}
	if t.total > 0 {
		line += fmt.Sprintf(" %s of %s", FormatBytes(t.current), FormatBytes(t.total))
	}
	return line
}

// breakSilence says what has been running when nothing was said for a while.
func (r *plainRenderer) breakSilence(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tasks) == 0 || now.Sub(r.spoke) < silence {
		return
	}
	const most = 3
	var running []string
	for _, t := range r.tasks[:min(most, len(r.tasks))] {
		running = append(running, fmt.Sprintf("%s (%s)", t.line(), FormatDuration(now.Sub(t.started))))
	}
	if more := len(r.tasks) - most; more > 0 {
		running = append(running, fmt.Sprintf("and %d more", more))
	}
	r.print(now, strings.Join(running, "; "))
}

// plainLine is the line of an event that ends a task or stands alone.
func plainLine(e progress.Event) string {
	switch e.State {
	case progress.Done:
		return fmt.Sprintf("%s: done%s (%s)", e.Task, after(", ", e.Text), FormatDuration(e.Elapsed))
	case progress.Failed:
		return fmt.Sprintf("%s: FAILED: %s (%s)", e.Task, firstLine(e.Err), FormatDuration(e.Elapsed))
	case progress.Skipped:
		return fmt.Sprintf("%s: skipped%s", e.Task, after(": ", e.Text))
	case progress.Warn:
		return "warning: " + subject(e)
	default:
		return subject(e)
	}
}

// subject is "task: text", or text alone where there is no task.
func subject(e progress.Event) string {
	if e.Task == "" {
		return e.Text
	}
	return e.Task + ": " + e.Text
}

func after(separator, s string) string {
	if s == "" {
		return ""
	}
	return separator + s
}

// jsonRenderer prints one JSON object a line.
type jsonRenderer struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

type jsonEvent struct {
	Time      time.Time      `json:"time"`
	Task      string         `json:"task,omitempty"`
	State     progress.State `json:"state"`
	Text      string         `json:"text,omitempty"`
	Log       string         `json:"log,omitempty"`
	Current   int64          `json:"current,omitempty"`
	Total     int64          `json:"total,omitempty"`
	Error     string         `json:"error,omitempty"`
	ElapsedMS int64          `json:"elapsedMs,omitempty"`
}

func newJSONRenderer(w io.Writer) *jsonRenderer {
	return &jsonRenderer{encoder: json.NewEncoder(w)}
}

func (r *jsonRenderer) Close() {}

func (r *jsonRenderer) Line(text string) {
	r.Report(progress.Event{Time: time.Now(), State: progress.Note, Text: text})
}

func (r *jsonRenderer) Report(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := jsonEvent{Time: e.Time, Task: e.Task, State: e.State, Text: e.Text, Log: e.Log,
		Current: e.Current, Total: e.Total, ElapsedMS: e.Elapsed.Milliseconds()}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	_ = r.encoder.Encode(out) // progress that cannot be written has no reader
}
