package cli

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/translate"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestQuitGivesTheTerminalBackFirst(t *testing.T) {
	for _, key := range []byte{'q', 3, 4} {
		var order []string
		v := &devView{restore: func() { order = append(order, "restore") }}
		v.press(t.Context(), key, nil, func() { order = append(order, "quit") })
		if !slices.Equal(order, []string{"restore", "quit"}) || !v.quit.Load() {
			t.Errorf("key %d: %v", key, order)
		}
	}
}

func TestLogFilterFollowsTheProject(t *testing.T) {
	v := &devView{console: ui.NewConsole(io.Discard, nil, false, false)}
	v.name([]string{"db", "web"})
	v.nextFilter()
	v.nextFilter()
	if v.filter() != "web" {
		t.Errorf("filter %q", v.filter())
	}
	v.name([]string{"db", "renamed"})
	if v.filter() != "" || v.nameWidth() != len("renamed") {
		t.Errorf("filter %q, width %d: web is gone", v.filter(), v.nameWidth())
	}
}

func TestSupersededBuildsGoAtRestOrWhenTheyPileUp(t *testing.T) {
	b := superseded{due: make(chan struct{}, 1)}
	due := func() bool {
		select {
		case <-b.due:
			b.count.Store(0)
			return true
		default:
			return false
		}
	}
	b.rest()
	if due() {
		t.Error("nothing was built, and something is to go")
	}
	b.add()
	if due() {
		t.Error("they go while the next save may come")
	}
	b.rest()
	if !due() {
		t.Error("they stay though the loop rests")
	}
	for range pileOf {
		b.add()
	}
	if !due() || due() {
		t.Error("a loop that never rests lets them pile up, or has them go twice")
	}
}

func TestDebuggerIsKnownOnceTheImageIs(t *testing.T) {
	d := newDebugging("web")
	in := translate.Input{Project: &types.Project{Name: "p", Services: types.Services{"web": {Name: "web"}}}}
	known := func() bool {
		select {
		case <-d.known:
			return true
		default:
			return false
		}
	}
	if _, err := d.prepare(in); err != nil || known() {
		t.Errorf("known %v before the image was there, error %v", known(), err)
	}
	in.Images = map[string]translate.ImageFacts{"p-web": {Ref: "p-web:1", Cmd: []string{"python3", "app.py"}}}
	for range 2 {
		if _, err := d.prepare(in); err != nil || !known() || d.debugger.name != "debugpy" {
			t.Errorf("known %v, debugger %q, error %v", known(), d.debugger.name, err)
		}
	}
}

func TestStatusSaysWhatFailsUntilItIsCured(t *testing.T) {
	var out bytes.Buffer
	v := &devView{console: ui.NewConsole(&out, nil, true, false), failed: map[string]string{}}
	v.name([]string{"db", "web"})
	status := func() string {
		out.Reset()
		v.showStatus()
		return out.String()
	}
	fail := func(service string) {
		v.note(devloop.Event{Kind: devloop.EventFailed, Service: service, Error: errors.New("no such file\nmore")})
	}
	fail("web")
	fail("")
	if s := status(); !strings.Contains(s, "✘ project: no such file") || !strings.Contains(s, "✘ web: no such file") || strings.Contains(s, "quit") {
		t.Errorf("status %q: both fail, and no key is read", s)
	}
	v.note(devloop.Event{Kind: devloop.EventProject})
	v.note(devloop.Event{Kind: devloop.EventServing, Service: "web"})
	if s := status(); !strings.Contains(s, "● watching") {
		t.Errorf("status %q: both are cured", s)
	}
	fail("web")
	v.name([]string{"db"})
	if s := status(); !strings.Contains(s, "● watching") {
		t.Errorf("status %q: web is not in the project any more", s)
	}
}

func TestDevIsPipedOnStandardOutput(t *testing.T) {
	for name, c := range map[string]struct {
		opts devOptions
		out  string
		err  string
	}{
		"piped": {devOptions{}, "db |  ready\n✔ db  recovered\n", ""},
		"once":  {devOptions{onceOptions: onceOptions{once: true}}, "", "db |  ready\n✔ db  recovered\n"},
		"json":  {devOptions{upOptions: upOptions{format: "json"}}, `"event":"log","service":"db","line":" ready"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			app := &App{Streams: Streams{Out: &out, Err: &errOut}}
			app.global.progress = "auto"
			v := app.newDevView(c.opts)
			v.name([]string{"db"})
			v.started()
			v.log("db", " ready")
			v.event(devloop.Event{Kind: devloop.EventServing, Service: "db", Cause: "recovered"})
			v.close()
			if !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 || errOut.String() != c.err {
				t.Errorf("standard output %q, standard error %q", out.String(), errOut.String())
			}
			for line := range strings.Lines(out.String()) {
				if c.opts.format == "json" && !strings.HasPrefix(line, `{"time":"`) {
					t.Errorf("%q has no time", line)
				}
			}
		})
	}
}

func TestLogsOfDevAreThoseOfTheNamedServices(t *testing.T) {
	no := false
	p := &types.Project{Services: types.Services{
		"web": {Name: "web"}, "db": {Name: "db"}, "metrics": {Name: "metrics", Attach: &no},
	}}
	shown := func(only string, named ...string) string {
		var out bytes.Buffer
		v := &devView{console: ui.NewConsole(&out, nil, false, false), quiet: quietOf(p, named), only: only}
		for _, name := range p.ServiceNames() {
			v.log(name, "")
		}
		return strings.Join(strings.Fields(strings.ReplaceAll(out.String(), "|", "")), " ")
	}
	for _, c := range []struct{ only, named, want string }{
		{"", "", "db web"}, {"", "web", "web"}, {"db", "web", "db"}, {"metrics", "", "metrics"},
	} {
		if got := shown(c.only, strings.Fields(c.named)...); got != c.want {
			t.Errorf("only %q, named %q: %q, want %q", c.only, c.named, got, c.want)
		}
	}
}
