package page

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/workshop"
)

// driver is what a visitor does, as a script that runs on each of the pages and
// reports what it has seen.
const driver = `
(async () => {
  const violations = [];
  document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI));
  const until = async (holds) => {
    while (!holds()) await new Promise((go) => setTimeout(go, 20));
  };
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const report = (seen) => fetch("/report", { method: "POST", body: JSON.stringify({ ...seen, violations }) });
  const fits = () => document.documentElement.scrollWidth <= window.innerWidth;
  const text = (selector) => document.querySelector(selector)?.textContent.trim() ?? "";

  if (location.pathname === "/FIRST/") {
    const copied = [];
    Object.defineProperty(navigator, "clipboard", { value: { writeText: async (s) => { copied.push(s); } } });
    const buttons = [...document.querySelectorAll(".code button")];
    for (const b of buttons) {
      b.click();
      await until(() => b.textContent === "Copied");
    }
    const picture = document.querySelector("article img");
    await until(() => picture.complete);
    press("c");
    press("ArrowRight"); // while the check runs nothing else is begun
    await until(() => document.getElementById("answer").className === "bad");
    await report({ page: "learner", copied, picture: picture.naturalWidth, answer: text("#answer pre"), title: text("#answer h2"), elapsed: /^\d+:\d\d:\d\d$/.test(text("#elapsed")), fits: fits() });
    press("ArrowRight");
  } else if (location.pathname === "/FIRST/step/2") {
    await report({ page: "step 2", shown: text("nav a[aria-current]"), elsewhere: text(".elsewhere a") });
    location.href = "/INSTRUCTOR/";
  } else if (location.pathname === "/INSTRUCTOR/") {
    const details = () => document.querySelector('details[data-key="learner-1"]');
    details().querySelector("summary").focus();
    details().open = true;
    const before = details();
    await until(() => details() !== before); // the live part was replaced
    await report({ page: "instructor", open: details().open, focus: document.activeElement === details().querySelector("summary"), answer: text("details pre"), fits: fits() });
  }
})();
`

// browser finds Chromium, or skips the test by name.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no Chromium here (Debian and Ubuntu: apt-get install chromium)")
	return ""
}

func TestPagesInABrowser(t *testing.T) {
	path := browser(t)
	s, run, _ := server(t)
	long := strings.Repeat("wide", 60) // one word, wider than the window
	source, err := os.ReadFile(filepath.Join(run.Dir, "one", "step.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"one/check":       "#!/bin/sh\nsleep 0.5\necho \"<b>not</b> done, $LEARNER " + long + "\"\nexit 1\n",
		"one/step.md":     string(source) + "\n`" + long + "` https://example.com/" + long + "\n\n| a | b |\n|---|---|\n| " + long + " | " + long + " |\n\n```\n" + long + "\n```\n",
		"one/img/map.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"/>`,
	} {
		if err := os.WriteFile(filepath.Join(run.Dir, filepath.FromSlash(name)), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	reports := make(chan map[string]any, 10)
	web := httptest.NewUnstartedServer(nil)
	web.Config.Handler = driven(t, s.Handler(t.Context(), web.Listener.Addr().String()), reports)
	web.Start()
	t.Cleanup(web.Close)
	cmd := exec.CommandContext(t.Context(), path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
		"--user-data-dir="+filepath.Join(t.TempDir(), "chromium"), web.URL+"/FIRST/")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before its folder goes
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	shell, err := workshop.NewSession(run, "learner-1", s.options)
	if err != nil {
		t.Fatal(err)
	}
	none := []any{}
	for _, want := range []map[string]any{
		{"page": "learner", "copied": []any{shell.ShellLine(), "kubectl get pods", long}, "picture": 20.0, "title": "Not yet",
			"answer": "<b>not</b> done, learner-1 " + long, "elapsed": true, "fits": true, "violations": none},
		{"page": "step 2", "shown": "Two", "elsewhere": "step 1", "violations": none},
		{"page": "instructor", "open": true, "focus": true, "answer": "<b>not</b> done, learner-1 " + long, "fits": true, "violations": none},
	} {
		select {
		case got := <-reports:
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v\nwant %v", got, want)
			}
		case <-time.After(90 * time.Second):
			t.Fatalf("no report of %s; Chromium says:\n%s", want["page"], &said)
		}
	}
}

// driven serves the pages with the driver behind their own script.
func driven(t *testing.T, pages http.Handler, reports chan<- map[string]any) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc("GET /assets/script.js", func(w http.ResponseWriter, r *http.Request) {
		plain := httptest.NewRecorder()
		pages.ServeHTTP(plain, r)
		w.Header().Set("Content-Type", plain.Header().Get("Content-Type"))
		_, _ = io.Copy(w, io.MultiReader(plain.Body, strings.NewReader(driver)))
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var seen map[string]any
		if err := json.NewDecoder(r.Body).Decode(&seen); err != nil {
			t.Error(err)
		}
		reports <- seen
	})
	return mux
}
