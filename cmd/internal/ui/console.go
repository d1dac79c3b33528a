package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"
	"github.com/morikuni/aec"

	"github.com/berth-dev/berth/infra/progress"
)

// A Console is the screen of a loop that runs until the user ends it: lines
// scroll by, and on a terminal one status line stays below them. It is a Sink
// of progress: what runs shows in the status line; the loop's events tell what
// failed.
// Its methods are safe for concurrent use.
type Console struct {
	w        io.Writer
	color    bool
	terminal bool
	size     func() (width, height int)

	mu     sync.Mutex
	up     Renderer // shows the first turn, until Serve
	status string   // what stands in the status line when nothing runs
	tasks  []string // running, the newest last
	cells  int      // how many the status line takes on the screen; 0: it is not there
}

// NewConsole returns a Console that shows progress as up does until Serve is
// called. On a terminal it keeps a status line.
func NewConsole(w io.Writer, up Renderer, terminal, color bool) *Console {
	return &Console{w: w, up: up, terminal: terminal, color: color, size: func() (int, int) { return terminalSize(w) }}
}

// Color reports whether lines may be coloured.
func (c *Console) Color() bool { return c.color }

// Serve ends the first turn's list of progress; from now on lines and the
// status line have the screen.
func (c *Console) Serve() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil {
		c.up.Close()
		c.up = nil
	}
}

// Line prints one line, or several; on a terminal before Serve above the list.
func (c *Console) Line(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil && c.terminal {
		c.up.Line(text)
		return
	}
	c.print(text)
}

// Log prints a line of a program's output after a prefix.
func (c *Console) Log(prefix, text string) {
	if c.terminal {
		text = lastOver(text)
	}
	c.Line(prefix + strings.TrimRight(text, "\r"))
}

// Status sets the status line.
func (c *Console) Status(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = text
	c.print("")
}

// Close removes the status line.
func (c *Console) Close() {
	c.Serve()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	c.terminal = false
}

// Report shows a progress event.
func (c *Console) Report(e progress.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil {
		c.up.Report(e)
		return
	}
	switch e.State {
	case progress.Running:
		c.running(e)
	case progress.Warn:
		c.print(paint(c.color, yellow, "! ") + subject(e))
	case progress.Note:
		c.print(paint(c.color, faint, "· "+subject(e)))
	default:
		c.ended(e.Task)
		c.print("")
	}
}

func (c *Console) running(e progress.Event) {
	text := e.Text
	if e.Log != "" {
		text = e.Log
	}
	c.ended(e.Task)
	c.tasks = append(c.tasks, e.Task+"\x00"+strings.TrimSpace(text))
	c.print("")
}

// ended takes a task off the status line.
func (c *Console) ended(task string) {
	for i, t := range c.tasks {
		if name, _, _ := strings.Cut(t, "\x00"); name == task {
			c.tasks = append(c.tasks[:i], c.tasks[i+1:]...)
			return
		}
	}
}

// print writes text, if any, above a fresh status line.
func (c *Console) print(text string) {
	if c.up != nil && c.terminal {
		return // the list has the screen
	}
	c.erase()
	if text != "" {
		_, _ = io.WriteString(c.w, c.lines(text))
	}
	line := c.statusLine()
	if !c.terminal || line == "" {
		return
	}
	width, _ := c.size()
	line = fit(line, width-1)
	_, _ = io.WriteString(c.w, paint(c.color, faint, line))
	c.cells = runewidth.StringWidth(line)
}

// lines ends every line as the terminal needs it: in raw mode a line feed does
// not return to the first column. What programs say must not steer the terminal.
func (c *Console) lines(text string) string {
	text = strings.TrimRight(text, "\n")
	if !c.terminal {
		return text + "\n"
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(tame(c.color, line) + "\r\n")
	}
	return b.String()
}

// erase removes the status line, of which a terminal that has become narrower
// since makes several rows.
func (c *Console) erase() {
	if c.cells == 0 {
		return
	}
	width, _ := c.size()
	row := "\r" + aec.EraseLine(aec.EraseModes.All).String()
	above := strings.Repeat(aec.Up(1).String()+row, (c.cells-1)/width)
	_, _ = io.WriteString(c.w, row+above)
	c.cells = 0
}

func (c *Console) statusLine() string {
	if len(c.tasks) == 0 {
		return c.status
	}
	name, text, _ := strings.Cut(c.tasks[len(c.tasks)-1], "\x00")
	if len(c.tasks) > 1 {
		name = fmt.Sprintf("%s (+%d)", name, len(c.tasks)-1)
	}
	return name + "  " + text
}
