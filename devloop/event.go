package devloop

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// An EventSink takes the loop's events, in order, from one goroutine. It must
// not block for long.
type EventSink func(Event)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventWatching EventKind = "watching" // the loop watches files; Files says how many
	EventChange   EventKind = "change"   // files of a service changed: Cause, Action and Why say what follows
	EventSame     EventKind = "same"     // files were saved without a change; nothing follows
	EventHold     EventKind = "hold"     // something is not done now; Why says why
	EventServing  EventKind = "serving"  // a change serves on every replica: Steps is its waterfall
	EventFailed   EventKind = "failed"   // a change could not be brought to serve: Error says why
	EventCancel   EventKind = "cancel"   // work was given up for a newer change
	EventProject  EventKind = "project"  // the compose file changed and was read again
	EventOutput   EventKind = "output"   // one line of output of a command the rules run
	EventWarn     EventKind = "warn"     // something the user should know
	EventLog      EventKind = "log"      // one line of a service's log; who shows the loop adds it
	EventDebug    EventKind = "debug"    // news of a service's debugger; who shows the loop adds it
)

// An Event is one thing that happened in the loop.
type Event struct {
	Time     time.Time
	Kind     EventKind
	Service  string // "" for the whole project
	Phase    Phase  // where the service stands now
	Seq      uint64 // the change it belongs to; 0 for none
	Cause    string // source changed: app/main.go (+3)
	Action   string // the rung of the ladder: sync, sync+restart, sync+exec, restart, rebuild, apply
	Why      string // why this rung, or why not now
	How      string // how a rebuilt image came to its pods, and why so
	Files    int    // how many files
	Replicas int    // on how many replicas it serves
	Steps    []Step // the waterfall
	Total    Millis // from the save to serving
	Error    error  // why it failed
	Line     string // of EventOutput, EventLog and EventDebug; of EventWarn what can be done
}

// A Step is one bar of the waterfall.
type Step struct {
	Name string `json:"name"` // watch, debounce, plan, build, load, apply, write, restart, exec, ready
	Took Millis `json:"ms"`
}

// Millis is a duration that prints and marshals as whole milliseconds.
type Millis time.Duration

// String returns the number of milliseconds.
func (m Millis) String() string {
	return fmt.Sprint(time.Duration(m).Round(time.Millisecond).Milliseconds())
}

// MarshalJSON returns the number of milliseconds with three decimals.
func (m Millis) MarshalJSON() ([]byte, error) {
	return []byte(fmt.Sprintf("%.3f", float64(time.Duration(m).Microseconds())/1000)), nil
}

// Waterfall prints the steps and the total the way users read them:
// "watch 2 · debounce 15 · build 140 -> serving in 157 ms".
func (e Event) Waterfall() string {
	parts := make([]string, len(e.Steps))
	for i, s := range e.Steps {
		parts[i] = s.Name + " " + s.Took.String()
	}
	return strings.Join(parts, " · ") + " -> serving in " + e.Total.String() + " ms"
}

// MarshalJSON gives the form that editors and CI read, one object a line.
func (e Event) MarshalJSON() ([]byte, error) {
	out := struct {
		Time     string    `json:"time"`
		Kind     EventKind `json:"event"`
		Service  string    `json:"service,omitempty"`
		Phase    Phase     `json:"phase,omitempty"`
		Seq      uint64    `json:"seq,omitempty"`
		Cause    string    `json:"cause,omitempty"`
		Action   string    `json:"action,omitempty"`
		Why      string    `json:"why,omitempty"`
		How      string    `json:"how,omitempty"`
		Files    int       `json:"files,omitempty"`
		Replicas int       `json:"replicas,omitempty"`
		Steps    []Step    `json:"steps,omitempty"`
		Total    *Millis   `json:"totalMs,omitempty"`
		Error    string    `json:"error,omitempty"`
		Line     string    `json:"line,omitempty"`
	}{
		Time: e.Time.UTC().Format(time.RFC3339Nano), Kind: e.Kind, Service: e.Service, Phase: e.Phase, Seq: e.Seq, Cause: e.Cause, Action: e.Action,
		Why: e.Why, How: e.How, Files: e.Files, Replicas: e.Replicas, Steps: e.Steps, Line: e.Line,
	}
	if e.Kind == EventServing {
		out.Total = &e.Total
	}
	if e.Error != nil {
		out.Error = e.Error.Error()
	}
	return json.Marshal(out)
}
