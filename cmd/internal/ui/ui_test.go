package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/progress"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func TestPlainPrintsOneLineAnEvent(t *testing.T) {
	var out bytes.Buffer
	r := New("plain", &out, false, false)
	for _, e := range []progress.Event{
		{Time: at(0), Task: "build web", State: progress.Running, Text: "sending context"},
		{Time: at(1), Task: "build web", State: progress.Running, Text: "sending context"}, // nothing new
		{Time: at(1), Task: "build web", State: progress.Running, Log: "#4 RUN go build"},
		{Time: at(13), Task: "pull redis", State: progress.Running, Text: "layers", Current: 1500, Total: 8_200_000},
		{Time: at(14), Task: "build web", State: progress.Done, Text: "web:berth-1", Elapsed: 14 * time.Second},
		{Time: at(15), Task: "pull redis", State: progress.Failed, Err: errors.New("no route\n  to the registry"), Elapsed: 2 * time.Second},
		{Time: at(15), Task: "start web", State: progress.Skipped, Text: "redis failed"},
		{Time: at(15), State: progress.Warn, Text: "port 80 is taken"},
		{Time: at(15), Task: "ingress", State: progress.Note, Text: "traefik"},
	} {
		r.Report(e)
	}
	r.Close()
	want := `build web: sending context
build web | #4 RUN go build
pull redis: layers 1.5 kB of 8.2 MB
build web: done, web:berth-1 (14.0s)
pull redis: FAILED: no route (2.0s)
start web: skipped: redis failed
warning: port 80 is taken
ingress: traefik
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestPlainIsNeverSilentWhileSomethingRuns(t *testing.T) {
	var out bytes.Buffer
	r := &plainRenderer{w: &out}
	r.breakSilence(at(0)) // nothing runs
	r.Report(progress.Event{Time: at(0), Task: "build web", State: progress.Running, Text: "sending context"})
	r.breakSilence(at(0)) // too soon
	r.Report(progress.Event{Time: at(1), Task: "build web", State: progress.Running, Current: 1500, Total: 8_200_000})
	r.breakSilence(at(2))
	for _, task := range []string{"pull redis", "pull db", "pull cache"} {
		r.Report(progress.Event{Time: at(2), Task: task, State: progress.Running, Text: "layers"})
	}
	r.breakSilence(at(14))
	r.Report(progress.Event{Time: at(15), Task: "build web", State: progress.Done, Elapsed: 15 * time.Second})
	r.breakSilence(at(16))
	want := `build web: sending context
build web: sending context 1.5 kB of 8.2 MB (2.0s)
pull redis: layers
pull db: layers
pull cache: layers
build web: sending context 1.5 kB of 8.2 MB (14.0s); pull redis: layers (12.0s); pull db: layers (12.0s); and 1 more
build web: done (15.0s)
pull redis: layers (14.0s); pull db: layers (14.0s); pull cache: layers (14.0s)
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestJSONPrintsOneObjectALine(t *testing.T) {
	var out bytes.Buffer
	r := New("json", &out, false, false)
	r.Report(progress.Event{Time: at(0), Task: "load web", State: progress.Failed, Err: errors.New("disk full"), Elapsed: 1500 * time.Millisecond})
	want := `{"time":"2026-01-02T03:04:05Z","task":"load web","state":"failed","error":"disk full","elapsedMs":1500}` + "\n"
	if out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}

func TestQuietPrintsLinesAlone(t *testing.T) {
	var out bytes.Buffer
	r := New("quiet", &out, true, true)
	r.Report(progress.Event{Time: at(0), Task: "x", State: progress.Failed, Err: errors.New("y")})
	r.Line("z")
	r.Close()
	if out.String() != "z\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestTerminalKeepsEndedTasksAndClearsRunningOnes(t *testing.T) {
	var out bytes.Buffer
	r := &ttyRenderer{w: &out, closing: make(chan struct{})}
	r.Report(progress.Event{Time: time.Now(), Task: "build web", State: progress.Running, Text: "step 1"})
	r.Report(progress.Event{Time: time.Now(), Task: "build api", State: progress.Running, Log: strings.Repeat("long line ", 40)})
	r.draw("")
	for _, line := range strings.Split(strings.TrimRight(out.String(), "\n"), "\n") {
		if visible := stripANSI(line); len([]rune(visible)) > 80 {
			t.Errorf("a line is wider than the terminal: %q", visible)
		}
	}
	if r.lines != 2 {
		t.Errorf("%d lines drawn, want 2", r.lines)
	}
	r.Report(progress.Event{Time: time.Now(), Task: "build web", State: progress.Done, Text: "built", Elapsed: time.Second})
	if !strings.Contains(out.String(), "✔ build web  built  1.0s\n") {
		t.Errorf("the ended task is not printed: %q", out.String())
	}
	r.Close()
	if r.lines != 0 {
		t.Errorf("%d lines are left after Close", r.lines)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	var out bytes.Buffer
	PrintError(&out, false, errors.New("load image \"web\": exit status 1\nctr: no space left on device"), "docker system prune")
	want := "Error: load image \"web\": exit status 1\n  ctr: no space left on device\nTry: docker system prune\n"
	if out.String() != want {
		t.Errorf("got %q want %q", out.String(), want)
	}
}

func TestDurationsAndSizesReadWell(t *testing.T) {
	for d, want := range map[time.Duration]string{
		85 * time.Millisecond: "85ms", 1200 * time.Millisecond: "1.2s", 125 * time.Second: "2m05s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%s: got %q want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{999: "999 B", 8_200_000: "8.2 MB", 1_000_000_000: "1.0 GB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: got %q want %q", n, got, want)
		}
	}
}

// stripANSI removes escape sequences.
func stripANSI(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\x1b' {
			b.WriteByte(s[i])
			continue
		}
		for i < len(s) && !strings.ContainsRune("ABCDJKmh", rune(s[i])) {
			i++
		}
	}
	return strings.ReplaceAll(b.String(), "\r", "")
}
