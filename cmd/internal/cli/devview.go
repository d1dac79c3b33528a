package cli

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/devloop"
)

// A devView is what the user of `berth dev` sees and presses.
type devView struct {
	app     *App
	console *ui.Console
	events  *lockedEncoder // --format json: events and logs as JSON lines
	once    bool           // the loop ends with its first turn
	quit    atomic.Bool    // the user pressed q
	builds  superseded     // by rebuilds that serve
	restore func()         // gives the terminal back as it was

	debug    *debugging                // nil: no service is debugged
	terminal bool                      // there is one to draw on
	quiet    func(service string) bool // whether its logs are shown only when asked for; nil: of none

	mu       sync.Mutex
	services []string
	width    int    // of the column of their names
	only     string // whose logs are shown; "" for all
	urls     []string
	failed   map[string]string // what is wrong, by service; "" for the project
	keys     bool              // pressed keys are read
}

func (app *App) newDevView(opts devOptions) *devView {
	out, terminal := app.devOutput(opts)
	renderer := ui.New(app.global.progress, app.Err, isTerminal(app.Err), app.colorOn(app.Err))
	v := &devView{
		app:      app,
		console:  ui.NewConsole(out, renderer, terminal, app.colorOn(out)),
		terminal: terminal,
		failed:   map[string]string{},
		builds:   superseded{due: make(chan struct{}, 1)},
		restore:  func() {},
	}
	app.renderer = v.console // whatever else reports progress does it there
	if opts.format == "json" {
		v.events = newLockedEncoder(app.Out)
	}
	return v
}

// devOutput is where the changes and logs of dev go, and whether that is a
// terminal to draw on. What is piped or redirected gets them on standard output,
// unless that is for JSON or for the command of --once.
func (app *App) devOutput(opts devOptions) (out io.Writer, terminal bool) {
	if opts.format != "json" && !opts.once && (!isTerminal(app.Out) || !isTerminal(app.Err)) {
		return app.Out, false
	}
	plain := app.global.progress == "plain" || app.global.progress == "json" || app.Getenv("TERM") == "dumb"
	return app.Err, isTerminal(app.Err) && !plain
}

func (v *devView) close() {
	v.app.settle()
	v.restore()
}

// widestName bounds the column of the names: a longer one stands out of it, and
// does not leave the others half a terminal.
const widestName = 20

// name tells the view which services there are.
func (v *devView) name(services []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.services, v.width = services, 0
	for _, name := range services {
		v.width = min(max(v.width, len(name)), widestName)
	}
	if !slices.Contains(services, v.only) {
		v.only = ""
	}
	maps.DeleteFunc(v.failed, func(name, _ string) bool { return name != "" && !slices.Contains(services, name) })
}

func (v *devView) nameWidth() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.width
}

// started is called when the first turn is over, however it went.
func (v *devView) started() {
	v.console.Serve()
	v.showStatus()
}

// serving is called when the whole project is up.
func (v *devView) serving(r devloop.UpResult) {
	if newImages(r) {
		v.builds.add()
	}
	v.console.Serve()
	for _, address := range addresses(r) {
		v.console.Line(address)
	}
	v.mu.Lock()
	v.urls = r.URLs
	v.mu.Unlock()
	if !v.terminal && !v.once { // nothing shows the status line
		v.console.Line(watching)
	}
	v.showStatus()
}

// watching is that all is well.
const watching = "● watching"

// note remembers what failed, until it is cured, for the status line.
func (v *devView) note(e devloop.Event) {
	v.mu.Lock()
	switch e.Kind {
	case devloop.EventFailed:
		v.failed[e.Service] = firstLine(e.Error.Error())
	case devloop.EventServing:
		delete(v.failed, e.Service)
	case devloop.EventProject:
		delete(v.failed, "")
	}
	v.mu.Unlock()
	v.showStatus()
}

func (v *devView) showStatus() {
	v.mu.Lock()
	var parts []string
	for service, why := range v.failed {
		service = cmp.Or(service, "project")
		parts = append(parts, "✘ "+service+": "+why)
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		parts = append(parts, watching)
	}
	if v.only != "" {
		parts = append(parts, "logs: "+v.only)
	}
	if v.keys {
		parts = append(parts, "r rebuild · s restart · l logs · o open · q quit")
	}
	v.mu.Unlock()
	v.console.Status(strings.Join(parts, "   "))
}

// filter is the service whose logs are shown, "" for all.
func (v *devView) filter() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.only
}

// readKeys turns keys into commands for the loop until ctx ends. Without a
// terminal there are none.
func (v *devView) readKeys(ctx context.Context, commands chan<- devloop.Command, quit func()) {
	in, ok := v.app.In.(*os.File)
	if !ok || !isTerminal(v.app.In) || !v.terminal || v.events != nil {
		return
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		v.console.Line("keys do not work: " + err.Error())
		return
	}
	v.restore = sync.OnceFunc(func() { _ = term.Restore(int(in.Fd()), state) })
	v.mu.Lock()
	v.keys = true
	v.mu.Unlock()
	v.showStatus()
	go func() { // ends with the process: a read of a terminal cannot be interrupted
		keys := bufio.NewReader(in)
		for {
			key, err := keys.ReadByte()
			if err != nil || ctx.Err() != nil {
				return
			}
			v.press(ctx, key, commands, quit)
		}
	}()
}

// press does what a key asks for.
func (v *devView) press(ctx context.Context, key byte, commands chan<- devloop.Command, quit func()) {
	send := func(verb devloop.CommandVerb) {
		select {
		case commands <- devloop.Command{Verb: verb, Service: v.filter()}:
		case <-ctx.Done():
		}
	}
	switch key {
	case 'q', 3, 4: // Ctrl-C and Ctrl-D: raw mode sends no signal
		v.quit.Store(true)
		v.restore() // from now on Ctrl-C is a signal again
		quit()
	case 'r':
		send(devloop.CommandRebuild)
	case 's':
		send(devloop.CommandRestart)
	case 'l':
		v.nextFilter()
		v.showStatus()
	case 'o':
		v.open(ctx)
	}
}

// nextFilter shows the logs of the next service alone, after the last those of
// all again.
func (v *devView) nextFilter() {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.Index(v.services, v.only) + 1 // "" is not among them: 0
	if i == len(v.services) {
		v.only = ""
		return
	}
	v.only = v.services[i]
}

// open opens the project's first URL in the browser.
func (v *devView) open(ctx context.Context) {
	v.mu.Lock()
	urls := v.urls
	v.mu.Unlock()
	if len(urls) == 0 {
		v.console.Line("no service answers HTTP through the ingress")
		return
	}
	command := map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}[runtime.GOOS]
	if command == nil {
		command = []string{"xdg-open"}
	}
	browser := exec.CommandContext(context.WithoutCancel(ctx), command[0], append(command[1:], urls[0])...) // it outlives dev
	if err := browser.Start(); err != nil {
		v.console.Line(urls[0] + " (" + err.Error() + ")")
		return
	}
	go func() { _ = browser.Wait() }() // leaves no zombie; ends with the browser or with dev
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
