package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/progress"
)

func TestWhatProgramsSayDoesNotSteerTheTerminal(t *testing.T) {
	tests := []struct{ name, line, color, plain string }{
		{"plain", "listening on :80", "listening on :80", "listening on :80"},
		{"tab", "a\tb", "a\tb", "a\tb"},
		{"colour that ends", "\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", "red"},
		{"colour that does not", "\x1b[1;31mred", "\x1b[1;31mred\x1b[0m", "red"},
		{"clears the screen", "\x1b[2J\x1b[Hhello", "hello", "hello"},
		{"moves up", "\x1b[3A\x1b[Kover", "over", "over"},
		{"title and link", "\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", "link"},
		{"bell, backspace and resets", "\x07a\bb\x1bc\x1b(B", "ab", "ab"},
		{"cut off", "text \x1b[3", "text [3", "text [3"},
		{"wide", "日本語\x1b[32mは", "日本語\x1b[32mは\x1b[0m", "日本語は"},
	}
	for _, tt := range tests {
		if got := tame(true, tt.line); got != tt.color {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.color)
		}
		if got := tame(false, tt.line); got != tt.plain {
			t.Errorf("%s without colour: %q, want %q", tt.name, got, tt.plain)
		}
	}
}

func TestProgressBarsOfProgramsEndAsTheyLook(t *testing.T) {
	for _, tt := range []struct {
		terminal   bool
		line, want string
	}{
		{true, "10 %\r50 %\r100 %\r", "web | 100 %\r\n"},
		{true, "\x1b[2K\r\x1b[32mdone", "web | \x1b[32mdone\x1b[0m\r\n"},
		{false, "10 %\r100 %\r", "web | 10 %\r100 %\n"},
	} {
		var out bytes.Buffer
		c := NewConsole(&out, nil, tt.terminal, true)
		c.Log("web | ", tt.line)
		if out.String() != tt.want {
			t.Errorf("got %q, want %q", out.String(), tt.want)
		}
	}
}

func TestStatusLineStaysOnOneRow(t *testing.T) {
	var out bytes.Buffer
	c := NewConsole(&out, nil, true, false)
	for _, status := range []string{
		strings.Repeat("a long status ", 20), strings.Repeat("状態は長い", 40), strings.Repeat("tab\t", 40), strings.Repeat("\x1b[31mred\x1b[0m ", 40),
	} {
		out.Reset()
		c.Status(status)
		_, drawn, _ := strings.Cut(out.String(), "2K") // what stood there is erased first
		if drawn == "" {
			drawn = out.String()
		}
		if w := runewidth.StringWidth(drawn); w > 79 || strings.ContainsAny(drawn, "\t\x1b\n") {
			t.Errorf("%d cells: %q", w, drawn)
		}
	}
}

// A resized terminal folds the status line into rows, all of which go.
func TestStatusLineIsErasedOfATerminalThatIsNarrowerNow(t *testing.T) {
	for width, rows := range map[int]int{80: 1, 60: 1, 59: 2, 30: 2, 29: 3, 1: 60} {
		var out bytes.Buffer
		c := NewConsole(&out, nil, true, true)
		c.size = func() (int, int) { return 80, 24 }
		c.Status(strings.Repeat("状", 30))
		c.size = func() (int, int) { return width, 24 }
		out.Reset()
		c.Close()
		if got := strings.Count(out.String(), "\x1b[2K"); got != rows || strings.Count(out.String(), "\x1b[1A") != rows-1 {
			t.Errorf("%d columns: %d rows are erased, want %d: %q", width, got, rows, out.String())
		}
	}
}

func TestPipeGetsLinesAsTheyAre(t *testing.T) {
	var out bytes.Buffer
	c := NewConsole(&out, nil, false, false)
	c.Status("watching")
	c.Line("\x1b[31mred\x1b[0m\tand")
	c.Report(progress.Event{Task: "build web", State: progress.Running, Text: "step 1"})
	if want := "\x1b[31mred\x1b[0m\tand\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// The error of a failed task follows as an event of the loop.
func TestConsoleShowsAnErrorOnce(t *testing.T) {
	var out bytes.Buffer
	c := NewConsole(&out, New("plain", &out, false, false), false, false)
	failed := progress.Event{Task: "build web", State: progress.Failed, Err: errors.New("exit 1\nmain.go:3: syntax error")}
	c.Report(failed)
	c.Line("✘ web  exit 1\n  main.go:3: syntax error")
	c.Serve()
	c.Report(failed)
	if want := "build web: FAILED: exit 1 (0ms)\n✘ web  exit 1\n  main.go:3: syntax error\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestEventsReadAsOneLine(t *testing.T) {
	ms := func(n int) devloop.Millis { return devloop.Millis(time.Duration(n) * time.Millisecond) }
	tests := []struct {
		event devloop.Event
		want  string
	}{
		{devloop.Event{Kind: devloop.EventChange, Service: "web", Action: "sync", Cause: "source changed: main.go", Why: "rule ./src"}, "▸ web   sync  source changed: main.go  (rule ./src)"},
		{devloop.Event{Kind: devloop.EventServing, Service: "web", Steps: []devloop.Step{{Name: "write", Took: ms(3)}}, Total: ms(20)}, "✔ web   write 3 -> serving in 20 ms"},
		{devloop.Event{Kind: devloop.EventServing, Service: "web", Steps: []devloop.Step{{Name: "swap", Took: ms(3)}}, Total: ms(20), How: "swapped in place"}, "✔ web   swap 3 -> serving in 20 ms  (swapped in place)"},
		{devloop.Event{Kind: devloop.EventServing, Service: "web", Cause: "recovered"}, "✔ web   recovered"},
		{devloop.Event{Kind: devloop.EventFailed, Service: "web", Action: "rebuild", Error: errors.New("exit 1\nmain.go:3: syntax error")}, "✘ web   rebuild  exit 1\n  main.go:3: syntax error"},
		{devloop.Event{Kind: devloop.EventServing}, ""},
	}
	for _, tt := range tests {
		if got := EventLine(false, tt.event, 4); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
