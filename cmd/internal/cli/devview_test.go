package cli

import (
	"io"
	"slices"
	"testing"

	"github.com/berth-dev/berth/cmd/internal/ui"
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
