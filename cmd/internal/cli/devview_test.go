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
	"github.com/berth-dev/berth/infra/problem"
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

func TestDebuggedServiceIsOneOfTheNamed(t *testing.T) {
	for _, c := range []struct{ debug, named, want string }{
		{"web", "db", "db web"},
		{"web", "web db", "web db"},
		{"web", "", ""}, // all
		{"", "db", "db"},
	} {
		if got := strings.Join(devOptions{debug: c.debug}.withDebugged(strings.Fields(c.named)), " "); got != c.want {
			t.Errorf("--debug %q of %q: %q", c.debug, c.named, got)
		}
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
		if _, err := d.prepare(in); err != nil || !known() || d.debugger.name != python.name {
			t.Errorf("known %v, debugger %q, error %v", known(), d.debugger.name, err)
		}
	}
}

func TestProgramsStartUnderTheirDebuggers(t *testing.T) {
	const listen = " -m debugpy --listen 127.0.0.1:5678 "
	const delve = "--headless --listen=127.0.0.1:2345 --api-version=2 --accept-multiclient --continue "
	for _, c := range []struct{ name, command, env, under, listens string }{
		{"JVM", "java -jar app.jar", "", "java -jar app.jar", "JAVA_TOOL_OPTIONS=-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=5005"},
		{"JVM, by its image", "/opt/start", "JAVA_HOME=/opt/java", "/opt/start", "JAVA_TOOL_OPTIONS=-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=5005"},
		{"Node", "docker-entrypoint.sh node server.js", "NODE_VERSION=22", "docker-entrypoint.sh node server.js", "NODE_OPTIONS=--inspect=127.0.0.1:9229"},
		{"Node with options", "node server.js", "NODE_OPTIONS=--max-old-space-size=99", "node server.js", "NODE_OPTIONS=--max-old-space-size=99 --inspect=127.0.0.1:9229"},
		{"npm, which is not the program", "npm start", "", "npm start", "npm_config_node_options=--inspect=127.0.0.1:9229"},
		{"npm in a shell", "sh -c 'npm ci && npm start'", "", "sh -c 'npm ci && npm start'", "npm_config_node_options=--inspect=127.0.0.1:9229"},
		{"nodemon", "npx nodemon -L server.js", "", "npx nodemon --inspect=127.0.0.1:9229 -L server.js", ""},
		{"Python", "python app.py --port 80", "", "python" + listen + "app.py --port 80", ""},
		{"Python's own options", "python3.12 -u -X dev app.py -u", "", "python3.12 -u -X dev" + listen + "app.py -u", ""},
		{"a module", "python -m flask run", "", "python" + listen + "-m flask run", ""},
		{"a program that is a module", "/usr/local/bin/gunicorn app:app", "PYTHON_VERSION=3", "python3" + listen + "-m gunicorn app:app", ""},
		{"an entry point", "/entrypoint.sh tini -- python app.py", "", "/entrypoint.sh tini -- python" + listen + "app.py", ""},
		{"a shell", "/bin/sh -c 'uvicorn main:app --port $PORT'", "", "/bin/sh -c 'python3" + listen + "-m uvicorn main:app --port $PORT'", ""},
		{"a script", "bash -ec 'python manage.py migrate && exec python manage.py runserver python'", "",
			"bash -ec 'python manage.py migrate && exec python" + listen + "manage.py runserver python'", ""},
		{"a Python file", "./app.py", "PYTHON_VERSION=3", "python3" + listen + "./app.py", ""},
		{"a Python image that says nothing", "/start", "PYTHON_VERSION=3", "", ""},
		{"Go", "/app serve", "", "dlv exec " + delve + "/app -- serve", ""},
		{"Go under init", "tini -- /app serve", "", "tini -- dlv exec " + delve + "/app -- serve", ""},
		{"Go in a shell", "sh -c 'exec /app $ARGS'", "", "sh -c 'exec dlv exec " + delve + "/app -- $ARGS'", ""},
		{"Go's sources", "go run ./cmd/app", "", "dlv debug " + delve + "./cmd/app", ""},
		{"a script of two", "sh -c '/migrate && /app'", "", "", ""},
		{"nothing", "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := func(line string) []string {
				line, script, found := strings.Cut(strings.TrimSuffix(line, "'"), " '")
				list := strings.Fields(line)
				if found {
					list = append(list, script)
				}
				return list
			}
			in := translate.Input{
				Project: &types.Project{Name: "p", Services: types.Services{"web": {Name: "web"}}},
				Images:  map[string]translate.ImageFacts{"p-web": {Ref: "p-web:1", Cmd: words(c.command), Env: strings.Fields(c.env)}},
			}
			d := newDebugging("web")
			out, err := d.prepare(in)
			if c.under == "" {
				if problem.Hint(err) == "" || !strings.Contains(err.Error(), `debug service "web"`) {
					t.Errorf("error %v: it says not what to do", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := out.Project.Services["web"]
			under := []string(s.Entrypoint)
			if under == nil {
				under = words(c.command)
			}
			var listens []string
			for key, value := range s.Environment {
				listens = append(listens, key+"="+*value)
			}
			if !slices.Equal(under, words(c.under)) || strings.Join(listens, "; ") != c.listens {
				t.Errorf("runs %q with %q", under, listens)
			}
			if !s.HealthCheck.Disable || s.GetScale() != 1 {
				t.Errorf("a breakpoint would end it: %+v", s)
			}
		})
	}
}

func TestWhatADebuggerLacksIsSaid(t *testing.T) {
	for _, c := range []struct{ command, why, want string }{
		{"python app.py", "exit status 1\n  its last log lines:\n    /usr/bin/python3: No module named debugpy", "pip install debugpy"},
		{"/app", `cannot be started: exec: "dlv": executable file not found in $PATH`, "go install"},
		{"/app", "panic: no such table", ""},
		{"node server.js", "No module named debugpy", ""},
	} {
		var out bytes.Buffer
		v := &devView{console: ui.NewConsole(&out, nil, false, false), failed: map[string]string{}, debug: newDebugging("web")}
		v.debug.choose(debuggerOf(strings.Fields(c.command), nil))
		v.loopEvent(devloop.Event{Kind: devloop.EventFailed, Service: "web", Error: errors.New(c.why)})
		if _, said, found := strings.Cut(out.String(), "debug web: "); !strings.Contains(said, c.want) || found != (c.want != "") {
			t.Errorf("%s: %q", c.why, out.String())
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
