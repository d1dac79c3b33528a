// Package progress is how long work says what it is doing: events sent to a
// sink, one stream a task. Renderers live in cmd. It imports nothing of ours
// and writes nowhere by itself.
package progress

import (
	"context"
	"errors"
	"sync"
	"time"
)

// State is where a task stands.
type State string

// The states of a task. Note and Warn are single lines that belong to no
// task's life cycle.
const (
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
	Skipped State = "skipped"
	Note    State = "note"
	Warn    State = "warn"
)

// An Event is one thing that happened to one task.
type Event struct {
	Time    time.Time     // when
	Task    string        // the task's name as the user reads it: `build web`, `node berth-worker`
	State   State         // where the task stands now
	Text    string        // what it is doing, or its result
	Log     string        // one line of output of the task (build log, package manager); State is Running
	Current int64         // work done so far, in the unit of Total
	Total   int64         // all work, bytes; 0 when unknown
	Err     error         // why it failed; State is Failed
	Elapsed time.Duration // time since the task began; set on Done, Failed and Skipped
}

// A Sink takes events. Report must be safe for concurrent use and must not
// block for long.
type Sink interface {
	Report(Event)
}

// SinkFunc makes a function a Sink.
type SinkFunc func(Event)

// Report calls f.
func (f SinkFunc) Report(e Event) { f(e) }

// Discard drops every event.
var Discard Sink = SinkFunc(func(Event) {})

// Say reports a single line outside any task.
func Say(s Sink, state State, task, text string) {
	s.Report(Event{Time: time.Now(), Task: task, State: state, Text: text})
}

// A Task reports the life of one piece of work. Its methods are safe for
// concurrent use; after the first of Done, Fail, Skip or End the others do nothing.
type Task struct {
	sink  Sink
	name  string
	start time.Time

	mu    sync.Mutex
	ended bool
}

// Start reports that the task called name runs and what it does first.
func Start(s Sink, name, text string) *Task {
	t := &Task{sink: s, name: name, start: time.Now()}
	t.Update(text)
	return t
}

// Update says what the task is doing now.
func (t *Task) Update(text string) { t.send(Event{State: Running, Text: text}, false) }

// Log passes on one line of the task's own output.
func (t *Task) Log(line string) { t.send(Event{State: Running, Log: line}, false) }

// Progress says how much is done of how much, in bytes.
func (t *Task) Progress(current, total int64) {
	t.send(Event{State: Running, Current: current, Total: total}, false)
}

// Done ends the task well; text is its result and may be empty.
func (t *Task) Done(text string) { t.send(Event{State: Done, Text: text}, true) }

// Skip ends the task without its work done, with the reason.
func (t *Task) Skip(reason string) { t.send(Event{State: Skipped, Text: reason}, true) }

// Fail ends the task with its error.
func (t *Task) Fail(err error) { t.send(Event{State: Failed, Err: err}, true) }

// End ends the task by err: Done with text when it is nil, Skip when the work
// was cancelled (context.Canceled), which is nobody's failure, else Fail. It
// returns err, so that a function can end with it.
func (t *Task) End(err error, text string) error {
	switch {
	case err == nil:
		t.Done(text)
	case errors.Is(err, context.Canceled):
		t.Skip("cancelled")
	default:
		t.Fail(err)
	}
	return err
}

func (t *Task) send(e Event, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = last
	e.Time = time.Now()
	e.Task = t.name
	if last {
		e.Elapsed = e.Time.Sub(t.start)
	}
	t.sink.Report(e)
}
