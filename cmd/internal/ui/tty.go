package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/morikuni/aec"
	"golang.org/x/term"

	"github.com/berth-dev/berth/infra/progress"
)

// redraw is how often the live list is drawn again.
const redraw = 100 * time.Millisecond

// ttyRenderer keeps a live list of what runs at the bottom of the terminal;
// what has ended is printed above it, once, and stays.
type ttyRenderer struct {
	w     io.Writer
	color bool

	mu      sync.Mutex
	tasks   []*ttyTask // running, in the order they began
	lines   int        // height of the list on the screen
	tick    int
	closing chan struct{}
	drawn   sync.WaitGroup
}

type ttyTask struct {
	name           string
	text, log      string
	current, total int64
	started        time.Time
}

func newTTYRenderer(w io.Writer, color bool) *ttyRenderer {
	r := &ttyRenderer{w: w, color: color, closing: make(chan struct{})}
	r.drawn.Go(r.animate)
	return r
}

func (r *ttyRenderer) animate() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-r.closing:
			return
		case <-ticker.C:
			r.mu.Lock()
			r.tick++
			r.draw("")
			r.mu.Unlock()
		}
	}
}

// Close clears the list and shows the cursor again.
func (r *ttyRenderer) Close() {
	close(r.closing)
	r.drawn.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = nil
	r.draw("")
}

func (r *ttyRenderer) Report(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.State != progress.Running {
		r.drop(e.Task)
		r.draw(r.ended(e))
		return
	}
	t := r.task(e)
	if e.Text != "" {
		t.text, t.log = e.Text, ""
	}
	if e.Log != "" {
		t.log = e.Log
	}
	if e.Total > 0 {
		t.current, t.total = e.Current, e.Total
	}
}

// Line prints text above the list.
func (r *ttyRenderer) Line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draw(text + "\n")
}

func (r *ttyRenderer) task(e progress.Event) *ttyTask {
	for _, t := range r.tasks {
		if t.name == e.Task {
			return t
		}
	}
	t := &ttyTask{name: e.Task, started: e.Time}
	r.tasks = append(r.tasks, t)
	return t
}

// drop takes a task off the list. Notes and warnings name none that runs.
func (r *ttyRenderer) drop(name string) {
	for i, t := range r.tasks {
		if t.name == name {
			r.tasks = append(r.tasks[:i], r.tasks[i+1:]...)
			return
		}
	}
}

// ended is the line that stays of an event.
func (r *ttyRenderer) ended(e progress.Event) string {
	took := paint(r.color, faint, FormatDuration(e.Elapsed))
	switch e.State {
	case progress.Done:
		return fmt.Sprintf(" %s %s%s  %s\n", paint(r.color, green, "✔"), e.Task, after("  ", paint(r.color, faint, e.Text)), took)
	case progress.Failed:
		return fmt.Sprintf(" %s %s  %s  %s\n", paint(r.color, red, "✘"), e.Task, firstLine(e.Err), took)
	case progress.Skipped:
		return fmt.Sprintf(" %s %s  %s\n", paint(r.color, faint, "-"), e.Task, paint(r.color, faint, "skipped"+after(": ", e.Text)))
	case progress.Warn:
		return fmt.Sprintf(" %s %s\n", paint(r.color, yellow, "!"), subject(e))
	default:
		return fmt.Sprintf(" %s %s\n", paint(r.color, cyan, "·"), subject(e))
	}
}

// draw replaces the list on the screen, with above printed before it.
func (r *ttyRenderer) draw(above string) {
	width, height := terminalSize(r.w)
	var b strings.Builder
	if r.lines > 0 {
		b.WriteString(aec.Up(uint(r.lines)).String())
	}
	b.WriteString("\r" + aec.EraseDisplay(aec.EraseModes.Tail).String())
	b.WriteString(above)
	shown := r.tasks
	if limit := max(height-2, 1); len(shown) > limit {
		shown = shown[len(shown)-limit:]
	}
	for _, t := range shown {
		b.WriteString(r.running(t, width) + "\n")
	}
	if above == "" && len(shown) == 0 && r.lines == 0 {
		return
	}
	r.lines = len(shown)
	_, _ = io.WriteString(r.w, b.String())
}

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

func (r *ttyRenderer) running(t *ttyTask, width int) string {
	took := FormatDuration(time.Since(t.started).Truncate(redraw))
	text := t.text
	if t.total > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%s %s of %s", text, FormatBytes(t.current), FormatBytes(t.total)))
	}
	if t.log != "" {
		text = strings.TrimSpace(text + "  " + t.log)
	}
	name := fit(t.name, width/2)
	room := width - 3 - runewidth.StringWidth(name) - 2 - 2 - len(took) - 1
	return fmt.Sprintf(" %s %s  %s  %s", paint(r.color, cyan, spinner[r.tick%len(spinner)]), name,
		paint(r.color, faint, fit(text, room)), paint(r.color, faint, took))
}

// terminalSize is the size of the terminal behind w, or 80x24.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width, height
		}
	}
	return 80, 24
}
