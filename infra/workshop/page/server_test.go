package page

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/workshop"
)

// host is what the test's server is called.
const host = "127.0.0.1:8090"

// served is a workshop of two learners and two steps, on a cluster that does
// not answer.
func served(t *testing.T) (http.Handler, workshop.Run, workshop.Store) {
	t.Helper()
	s, run, store := server(t)
	return s.Handler(t.Context(), host), run, store
}

// cluster runs, although its API server does not answer.
type cluster struct{ workshop.Cluster }

func (cluster) Running(context.Context) error { return nil }

func server(t *testing.T) (*Server, workshop.Run, workshop.Store) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"workshop.yaml": "name: w\ntitle: The <Workshop>\ntime: 90m\nsteps:\n  - {dir: one, title: One}\n  - {dir: two, title: Two}\n",
		"one/step.md": "# One\n\n<script>alert(1)</script>\n\n```sh\nkubectl get pods\n```\n" +
			"![a map](img/map.svg) [this file](notes.txt#end) [outside](https://example.com/x) [the title](#one)\n",
		"one/img/map.svg": "<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
		"one/notes.txt":   "notes",
		"secret.txt":      "of another folder",
		"one/check":       "#!/bin/sh\necho \"<b>not</b> done, $LEARNER\"\nexit 1\n",
		"two/step.md":     "# Two\n",
	} {
		path := filepath.Join(dir, "workshop", name)
		mode := os.FileMode(0o644)
		if filepath.Ext(name) == "" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../secret.txt", filepath.Join(dir, "workshop", "one", "link")); err != nil {
		t.Fatal(err)
	}
	w, err := workshop.Read(filepath.Join(dir, "workshop"))
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: x, user: {}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.New(kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	store := workshop.NewStore(filepath.Join(dir, "state"))
	tokens := []string{"INSTRUCTOR", "FIRST", "SECOND"}
	run := workshop.NewRun(w, 2, func() string { next := tokens[0]; tokens = tokens[1:]; return next })
	run.Started, run.Cluster = time.Now(), "c"
	if err := store.Save(run); err != nil {
		t.Fatal(err)
	}
	s, err := New("w", workshop.Options{Store: store, Kube: client, Cluster: cluster{}, Env: os.Environ(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s, run, store
}

type request struct {
	method, path, host, origin, accept, body string
}

func (r request) do(h http.Handler) *httptest.ResponseRecorder {
	req := httptest.NewRequest(r.method, "http://"+host+r.path, strings.NewReader(r.body))
	if r.host != "" {
		req.Host = r.host
	}
	if r.origin != "" {
		req.Header.Set("Origin", r.origin)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestOnlyItsOwnPagesGetIn(t *testing.T) {
	h, _, _ := served(t)
	own := "http://" + host
	for name, tc := range map[string]struct {
		request
		want int
	}{
		"the page":                      {request{method: "GET", path: "/FIRST/"}, 200},
		"another step":                  {request{method: "GET", path: "/FIRST/step/2"}, 200},
		"a file of a step":              {request{method: "GET", path: "/FIRST/step/1/files/notes.txt"}, 200},
		"no such file":                  {request{method: "GET", path: "/FIRST/step/1/files/none"}, 404},
		"a folder of a step":            {request{method: "GET", path: "/FIRST/step/1/files/img"}, 404},
		"a file of no step":             {request{method: "GET", path: "/FIRST/step/3/files/notes.txt"}, 404},
		"a file outside":                {request{method: "GET", path: "/FIRST/step/1/files/..%2fsecret.txt"}, 404},
		"a link that leads out":         {request{method: "GET", path: "/FIRST/step/1/files/link"}, 404},
		"a file, with no token":         {request{method: "GET", path: "/THIRD/step/1/files/notes.txt"}, 404},
		"a file, under another name":    {request{method: "GET", path: "/FIRST/step/1/files/notes.txt", host: "evil.example"}, 421},
		"no such step":                  {request{method: "GET", path: "/FIRST/step/3"}, 404},
		"no token":                      {request{method: "GET", path: "/"}, 404},
		"a wrong token":                 {request{method: "GET", path: "/THIRD/"}, 404},
		"a part of a token":             {request{method: "GET", path: "/FIRS/"}, 404},
		"rebound name":                  {request{method: "GET", path: "/FIRST/", host: "evil.example:8090"}, 421},
		"rebound name, assets":          {request{method: "GET", path: "/assets/script.js", host: "evil.example"}, 421},
		"assets":                        {request{method: "GET", path: "/assets/script.js"}, 200},
		"templates are no assets":       {request{method: "GET", path: "/assets/learner.html"}, 405},
		"a GET changes nothing":         {request{method: "GET", path: "/FIRST/check"}, 405},
		"a POST without origin":         {request{method: "POST", path: "/FIRST/check"}, 403},
		"a POST of another site":        {request{method: "POST", path: "/FIRST/check", origin: "http://evil.example"}, 403},
		"a POST of another port":        {request{method: "POST", path: "/FIRST/check", origin: "http://127.0.0.1:1"}, 403},
		"a POST of null":                {request{method: "POST", path: "/FIRST/check", origin: "null"}, 403},
		"its own POST":                  {request{method: "POST", path: "/FIRST/check", origin: own}, 303},
		"an unknown act":                {request{method: "POST", path: "/FIRST/explode", origin: own}, 404},
		"a learner is no instructor":    {request{method: "GET", path: "/FIRST/overview"}, 404},
		"nor tells others anything":     {request{method: "POST", path: "/FIRST/broadcast", origin: own, body: "text=x"}, 404},
		"nor resets them":               {request{method: "POST", path: "/FIRST/reset/learner-2", origin: own}, 404},
		"the instructor is no learner":  {request{method: "POST", path: "/INSTRUCTOR/check", origin: own}, 404},
		"the instructor's page":         {request{method: "GET", path: "/INSTRUCTOR/"}, 200},
		"the instructor tells everyone": {request{method: "POST", path: "/INSTRUCTOR/broadcast", origin: own, body: "text=hello"}, 303},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.do(h); got.Code != tc.want {
				t.Errorf("status %d, want %d: %s", got.Code, tc.want, got.Body)
			}
		})
	}
}

func TestPagesShowWhatThereIs(t *testing.T) {
	h, run, store := served(t)
	page := request{method: "GET", path: "/FIRST/"}.do(h)
	body := page.Body.String()
	for _, want := range []string{
		`src="/FIRST/step/1/files/img/map.svg"`, `href="/FIRST/step/1/files/notes.txt#end"`, `href="https://example.com/x"`, `href="#one"`,
		"eval &#34;$(berth workshop env --workshop w --learner learner-1)&#34;",
		"The &lt;Workshop&gt;", "kubectl get pods", "of 90m", "The cluster does not answer", `aria-current="page"`, "learner-1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	for _, no := range []string{"<script>alert", "SECOND", "INSTRUCTOR", `src="http`, `href="http:`} {
		if strings.Contains(body, no) {
			t.Errorf("the page has %q", no)
		}
	}
	if csp := page.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	answer := request{method: "POST", path: "/FIRST/check", origin: "http://" + host, accept: "application/json"}.do(h)
	var got reply
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got.Class != "bad" || !strings.Contains(got.HTML, "&lt;b&gt;not&lt;/b&gt; done, learner-1") {
		t.Errorf("%v, %+v", err, got)
	}
	if err := store.Broadcast(run.Name, "lunch <now>", time.Now()); err != nil {
		t.Fatal(err)
	}
	body = request{method: "GET", path: "/SECOND/"}.do(h).Body.String()
	if !strings.Contains(body, "lunch &lt;now&gt;") {
		t.Error("a learner's page does not show what the instructor said")
	}
	body = request{method: "GET", path: "/INSTRUCTOR/"}.do(h).Body.String()
	for _, want := range []string{"learner-1", "learner-2", "Not yet", "&lt;b&gt;not", "lunch &lt;now&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("the instructor's page lacks %q:\n%s", want, body)
		}
	}
	moved := request{method: "POST", path: "/FIRST/broadcast?" + url.Values{"text": {"x"}}.Encode(), origin: "http://" + host}.do(h)
	if moved.Code != http.StatusNotFound {
		t.Errorf("status %d", moved.Code)
	}
}

// A visitor who reloads the page, or closes it, has begun something all the
// same; it ends with serving.
func TestWhatWasBegunGoesOnWithoutItsVisitor(t *testing.T) {
	for name, tc := range map[string]struct {
		stopServing bool
		want        bool // that its answer is remembered
	}{
		"the visitor goes": {false, true},
		"serving ends":     {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, run, store := server(t)
			step := filepath.Join(run.Dir, "one")
			check := "#!/bin/sh\ntouch \"$0.begun\"\nuntil [ -e \"$0.go\" ]; do sleep 0.05; done\n"
			if err := os.WriteFile(filepath.Join(step, "check"), []byte(check), 0o755); err != nil {
				t.Fatal(err)
			}
			serving, stop := context.WithCancel(t.Context())
			visitor, leave := context.WithCancel(t.Context())
			req := httptest.NewRequestWithContext(visitor, http.MethodPost, "http://"+host+"/FIRST/check", nil)
			req.Header.Set("Origin", "http://"+host)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				s.Handler(serving, host).ServeHTTP(httptest.NewRecorder(), req)
			}()
			await(t, func() bool { _, err := os.Stat(filepath.Join(step, "check.begun")); return err == nil })
			leave()
			if tc.stopServing {
				stop()
			} else if err := os.WriteFile(filepath.Join(step, "check.go"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			<-ended
			stop()
			p, err := store.Progress(run.Name, "learner-1")
			if err != nil || (p.Last != nil && p.Last.OK) != tc.want {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// await polls until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !holds(); {
		select {
		case <-limit:
			t.Fatal("it does not come")
		case <-tick.C:
		}
	}
}

func TestAnswersSayWhatEndedACheck(t *testing.T) {
	for name, tc := range map[string]struct {
		verb string
		o    workshop.Outcome
		want answer
	}{
		"passed":    {"check", workshop.Outcome{OK: true, Output: "well"}, answer{Class: "good", Title: "Done", Output: "well"}},
		"not yet":   {"check", workshop.Outcome{Output: "a pod lacks", Why: "exit status 1"}, answer{Class: "bad", Title: "Not yet", Output: "a pod lacks"}},
		"silent":    {"check", workshop.Outcome{Why: "exit status 1"}, answer{Class: "bad", Title: "Not yet", Output: "exit status 1"}},
		"timed out": {"check", workshop.Outcome{Output: "waiting", Why: "ended after 5s", TimedOut: true}, answer{Class: "bad", Title: "The check did not come to an end", Output: "waiting\nended after 5s"}},
		"reset":     {"reset", workshop.Outcome{OK: true}, answer{Class: "good", Title: "You are at the beginning of this step"}},
	} {
		if got := answerOf(tc.verb, tc.o); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}
