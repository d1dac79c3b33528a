package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/progress"
)

// heartbeat is how long a running task may stay silent in plain output.
const heartbeat = 10 * time.Second

// plainRenderer prints one line an event, for logs and pipes. A task whose text
// does not change is mentioned again now and then, so that a long step does not
// look stuck.
type plainRenderer struct {
	w    io.Writer
	mu   sync.Mutex
	last map[string]plainTask
}

type plainTask struct {
	text    string
	printed time.Time
	started time.Time
}

func newPlainRenderer(w io.Writer) *plainRenderer {
	return &plainRenderer{w: w, last: map[string]plainTask{}}
}

func (r *plainRenderer) Close() {}

func (r *plainRenderer) Report(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.State == progress.Running {
		r.running(e)
		return
	}
	delete(r.last, e.Task)
	fmt.Fprintln(r.w, plainLine(e))
}

func (r *plainRenderer) running(e progress.Event) {
	if e.Log != "" {
		fmt.Fprintf(r.w, "%s | %s\n", e.Task, e.Log)
		return
	}
	task, known := r.last[e.Task]
	if !known {
		task.started = e.Time
	}
	text := e.Text
	if text == "" {
		text = task.text
	}
	if known && text == task.text && e.Time.Sub(task.printed) < heartbeat {
		return
	}
	line := e.Task + ": " + text
	if e.Total > 0 {
		line += fmt.Sprintf(" %s of %s", FormatBytes(e.Current), FormatBytes(e.Total))
	}
	if known && text == task.text {
		line += " (" + FormatDuration(e.Time.Sub(task.started)) + ")"
	}
	fmt.Fprintln(r.w, line)
	task.text, task.printed = text, e.Time
	r.last[e.Task] = task
}

// plainLine is the line of an event that ends a task or stands alone.
func plainLine(e progress.Event) string {
	switch e.State {
	case progress.Done:
		return fmt.Sprintf("%s: done%s (%s)", e.Task, after(", ", e.Text), FormatDuration(e.Elapsed))
	case progress.Failed:
		return fmt.Sprintf("%s: FAILED: %v (%s)", e.Task, e.Err, FormatDuration(e.Elapsed))
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
