package devtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/devloop/devtest"
)

// The scenarios of docker compose's own tests of `watch`, asked of `berth dev`
// with one replica and with three. Step 8 of the first is the hard one: what was
// synced before must outlive a restart.
func TestWatch(t *testing.T) {
	for image, ref := range map[string]string{"alpine": "alpine:3", "busybox": "busybox", "debian": "debian:bookworm-slim"} {
		t.Run(image, func(t *testing.T) {
			forReplicas(t, image != "alpine", func(t *testing.T, replicas int) { watchImage(t, image, ref, replicas) })
		})
	}
}

func watchImage(t *testing.T, image, ref string, replicas int) {
	s := newScenario(t, replicas, map[string]string{"compose.yaml": `
services:
  ` + image + `:
    build:
      dockerfile_inline: |
        FROM ` + ref + `
        RUN mkdir -p /app/data
        RUN mkdir -p /app/config
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    volumes: ["./dat:/app/dat", "./data-logs:/app/data-logs"]
    develop:
      watch:
        - {action: sync, path: ./data, target: /app/data, ignore: ["*.foo", "./ignored"]}
        - {action: sync+restart, path: ./config, target: /app/config}
`, "dat/meow.dat": "i am a wannabe cat\n", "data-logs/server.log": "[INFO] Server started successfully on port 8080\n"})
	s.start(image)
	s.do(os.Mkdir(s.path("data"), 0o700))
	if err := s.dev.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write("data/hello.txt", "hello world")
	s.holds(image, "/app/data/hello.txt", "hello world")
	s.write("data/hello.txt", "hello watch")
	s.holds(image, "/app/data/hello.txt", "hello watch")
	flush := func() { t.Helper(); s.flush(image, "data/wait.txt", "/app/data/wait.txt") }
	s.do(os.Remove(s.path("data/hello.txt")))
	flush()
	s.lacks(image, "/app/data/hello.txt")
	s.write("data/data.foo", "ignored")
	s.write("data/ignored/hello.txt", "ignored")
	flush()
	s.lacks(image, "/app/data/data.foo")
	s.lacks(image, "/app/data/ignored")
	s.do(os.Mkdir(s.path("data/subdir"), 0o700))
	flush()
	s.until(within, "an empty directory", func(o outcome) bool { return o.code == 0 }, image, "stat", "/app/data/subdir")
	s.write("data/subdir/file.txt", "a")
	s.holds(image, "/app/data/subdir/file.txt", "a")
	for _, burst := range []string{"xyz", "zyx"} {
		for _, c := range burst {
			s.write("data/subdir/file.txt", string(c))
		}
		s.holds(image, "/app/data/subdir/file.txt", burst[2:])
	}
	s.write("data/kept.txt", "outlives a restart")
	s.do(os.RemoveAll(s.path("data/subdir")))
	flush()
	s.lacks(image, "/app/data/subdir")
	from := s.dev.Count()
	s.do(os.Mkdir(s.path("config"), 0o700))
	s.write("config/file.config", "This is an updated config file")
	e := s.event(from, within, "the restart", serving(image, "sync+restart"))
	if e.Replicas != replicas {
		t.Errorf("%d replicas: %+v", e.Replicas, e)
	}
	s.holds(image, "/app/config/file.config", "This is an updated config file")
	s.holds(image, "/app/data/kept.txt", "outlives a restart")
	s.holds(image, "/app/dat/meow.dat", "i am a wannabe cat\n")
	if !s.dev.Running() {
		t.Error("berth dev has ended")
	}
}

// .env is what the rule watches and what the compose file is read with: one
// change, one rebuild.
func TestRebuildOnDotEnvWithExternalNetwork(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{".env": "A=1\n", "compose.yaml": `
services:
  ext-alpine:
    build:
      dockerfile_inline: |
        FROM alpine:3
        COPY .env /copy
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    networks: [external_network_test]
    develop:
      watch: [{action: rebuild, path: .env}]
networks:
  external_network_test: {external: true}
`})
		s.watch("ext-alpine")
		networks := func() string { // the zones of its networks, where every pod looks for names
			out := s.kubectl("get", "pods", "-n", s.project(), "-o", `jsonpath={range .items[*]}{.spec.dnsConfig.searches}{"\n"}{end}`)
			all := strings.Split(out, "\n")
			slices.Sort(all)
			return strings.Join(slices.Compact(all), "\n")
		}
		before := networks()
		from := s.dev.Count()
		s.write(".env", "A=1\nB=2\n")
		s.until(30*time.Second, "the new file", func(o outcome) bool { return o.stdout == "A=1\nB=2\n" }, "ext-alpine", "cat", "/copy")
		s.event(from, 30*time.Second, "serving", func(e devtest.Event) bool { return e.Event == "serving" })
		builds := 0
		for _, e := range s.dev.Events(from) {
			if e.Event == "failed" {
				t.Errorf("%+v", e)
			}
			if e.Event == "serving" {
				for _, step := range e.Steps {
					if step.Name == "build" {
						builds++
					}
				}
			}
		}
		if builds > 1 {
			t.Errorf("%d rebuilds for one change", builds)
		}
		if after := networks(); before == "" || after != before {
			t.Errorf("networks before %s, after %s", before, after)
		}
	})
}

func TestWatchExec(t *testing.T) {
	forReplicas(t, false, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"compose.yaml": `
services:
  test:
    build:
      dockerfile_inline: "FROM alpine:3"
    command: ping localhost
    deploy: {replicas: REPLICAS}
    volumes: [/data]
    develop:
      watch:
        - {path: ., target: /data, initial_sync: true, action: sync+exec, exec: {command: echo "SUCCESS"}}
`})
		s.watch()
		s.event(0, within, "the service's log", func(e devtest.Event) bool {
			return e.Event == "log" && strings.Contains(e.Line, "64 bytes from")
		})
		from := s.dev.Count()
		s.write("test", "test")
		s.event(from, within, "the output of exec", func(e devtest.Event) bool { return e.Event == "output" && strings.Contains(e.Line, "SUCCESS") })
		s.holds("test", "/data/test", "test")
		s.until(within, "initial_sync into the volume", func(o outcome) bool { return o.code == 0 }, "test", "stat", "/data/compose.yaml")
	})
}

func TestWatchMultiServices(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		service := func(name string) string {
			return fmt.Sprintf("  %s:\n    build:\n      dockerfile_inline: |\n        FROM alpine:3\n        RUN mkdir -p /data/\n        COPY test /data/%s\n"+
				"    init: true\n    command: sleep infinity\n    deploy: {replicas: REPLICAS}\n    develop: {watch: [{path: test, action: rebuild}]}\n", name, name)
		}
		s := newScenario(t, replicas, map[string]string{"test": "test", "compose.yaml": "services:\n" + service("a") + service("b") + service("c")})
		s.watch()
		for _, content := range []string{"test", "updated"} {
			if content != "test" {
				s.write("test", content)
			}
			for _, name := range []string{"a", "b", "c"} {
				s.until(90*time.Second, name, func(o outcome) bool { return o.stdout == content }, name, "cat", "/data/"+name)
			}
		}
	})
}

func TestWatchRebuildIgnoresDependencies(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"test": "test", "compose.yaml": `
services:
  frontend:
    build: {dockerfile_inline: "FROM alpine:3\nCOPY test /data\n"}
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    depends_on: [backend]
    develop: {watch: [{path: test, action: rebuild}]}
  backend:
    build: {dockerfile_inline: "FROM alpine:3\nCOPY test /data\n"}
    init: true
    command: sleep infinity
`})
		s.watch()
		from := s.dev.Count()
		s.write("test", "updated")
		s.event(from, time.Minute, "the rebuild", serving("frontend", "rebuild"))
		for _, e := range s.dev.Events(from) {
			if e.Service == "backend" && e.Action == "rebuild" && strings.Contains(e.Why, "develop.watch") {
				t.Errorf("the dependency is rebuilt by a rule it has not: %+v", e)
			}
		}
	})
}

func TestWatchSyncIntoSymlinkedDirectory(t *testing.T) {
	forReplicas(t, false, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"data/.keep": "", "outside/hello.txt": "hello symlink", "compose.yaml": `
services:
  app:
    image: alpine:3
    init: true
    command: sh -c "mkdir -p /app/data /var/sub && ln -s /var/sub /app/data/sub && sleep infinity"
    deploy: {replicas: REPLICAS}
    develop: {watch: [{action: sync, path: ./data, target: /app/data}]}
`})
		s.watch()
		s.until(within, "the link", func(o outcome) bool { return o.code == 0 }, "app", "test", "-L", "/app/data/sub")
		s.do(os.Rename(s.path("outside"), s.path("data/sub")))
		s.holds("app", "/var/sub/hello.txt", "hello symlink")
		for _, o := range s.exec("app", "test", "-L", "/app/data/sub") {
			if o.code != 0 {
				t.Errorf("the link was replaced: %+v", o)
			}
		}
	})
}

func TestWatchIncludes(t *testing.T) {
	forReplicas(t, false, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"compose.yaml": `
services:
  test:
    build: {dockerfile_inline: "FROM alpine:3"}
    init: true
    command: sh -c "mkdir -p /data && sleep infinity"
    deploy: {replicas: REPLICAS}
    develop: {watch: [{path: ., target: /data, action: sync, include: A.*}]}
`})
		s.watch()
		s.write("B.test", "b")
		s.write("A.test", "a")
		s.holds("test", "/data/A.test", "a")
		s.lacks("test", "/data/B.test")
	})
}

func TestInitialSyncExtensionIsDeprecated(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"compose.yaml": `
services:
  test:
    build: {dockerfile_inline: "FROM alpine:3"}
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    develop: {watch: [{path: ., target: /data, action: sync, x-initialSync: true}]}
`})
		s.watch()
		s.event(0, within, "the warning", func(e devtest.Event) bool {
			return e.Event == "warn" && strings.Contains(e.Why, "x-initialSync is DEPRECATED, please use the official `initial_sync` attribute")
		})
		s.until(within, "what was there", func(o outcome) bool { return o.code == 0 }, "test", "stat", "/data/compose.yaml")
	})
}

// What upstream does not ask.
func TestWatchTrees(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"data/a/one.txt": "1", "compose.yaml": `
services:
  app: &app
    image: busybox
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    develop: {watch: [{action: sync, path: ./data, target: /data, initial_sync: true}]}
  second: *app
`})
		s.watch()
		for _, service := range []string{"app", "second"} {
			s.holds(service, "/data/a/one.txt", "1")
		}
		s.do(os.Rename(s.path("data/a"), s.path("data/b")))
		s.holds("app", "/data/b/one.txt", "1")
		s.lacks("app", "/data/a")
		s.do(os.RemoveAll(s.path("data/b")))
		s.write("data/b", "a file now")
		s.holds("app", "/data/b", "a file now")
		s.do(os.Remove(s.path("data/b")))
		s.write("data/b/back.txt", "a directory again")
		s.holds("app", "/data/b/back.txt", "a directory again")
		s.write("data/atomic.txt~", "saved")
		s.do(os.Rename(s.path("data/atomic.txt~"), s.path("data/atomic.txt")))
		s.holds("app", "/data/atomic.txt", "saved")
		const many = 10_000
		for i := range many {
			s.write(fmt.Sprintf("data/many/%02d/%d", i%100, i), fmt.Sprint(i))
		}
		s.until(60*time.Second, "10,000 files", func(o outcome) bool { return strings.TrimSpace(o.stdout) == fmt.Sprint(many) },
			"app", "sh", "-c", "find /data/many -type f | wc -l")
		s.holds("second", filepath.Join("/data/many/99", fmt.Sprint(many-1)), fmt.Sprint(many-1))
	})
}

func TestFailedRebuildDoesNotLoseTheSync(t *testing.T) {
	forReplicas(t, true, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"data/file": "1", "check": "true", "compose.yaml": `
services:
  app:
    build: {dockerfile_inline: "FROM busybox\nCOPY check /check\nRUN sh /check\n"}
    init: true
    command: sleep infinity
    deploy: {replicas: REPLICAS}
    develop:
      watch:
        - {action: sync, path: ./data, target: /data}
        - {action: rebuild, path: ./check}
`})
		s.watch()
		from := s.dev.Count()
		s.write("check", "echo this is wrong >&2; false")
		s.write("data/file", "2")
		s.holds("app", "/data/file", "2")
		e := s.event(from, 30*time.Second, "the failure", func(e devtest.Event) bool { return e.Event == "failed" && e.Service == "app" })
		if !strings.Contains(e.Error, "this is wrong") {
			t.Errorf("the error does not show why: %s", e.Error)
		}
		from = s.dev.Count()
		s.write("check", "true # again")
		s.event(from, 30*time.Second, "the cure", serving("app", ""))
		s.until(within, "the new image", func(o outcome) bool { return o.stdout == "true # again" }, "app", "cat", "/check")
		s.holds("app", "/data/file", "2")
	})
}

// A program that crashes keeps its container, and the next change cures it.
func TestCrashKeepsTheContainer(t *testing.T) {
	forReplicas(t, false, func(t *testing.T, replicas int) {
		s := newScenario(t, replicas, map[string]string{"app/run.sh": "echo good; sleep 1000\n", "compose.yaml": `
services:
  app:
    build: {dockerfile_inline: "FROM busybox\nCOPY app /app\n"}
    command: sh /app/run.sh
    deploy: {replicas: REPLICAS}
    develop: {watch: [{action: sync+restart, path: ./app, target: /app}]}
`})
		s.watch()
		containers := s.exec("app", "hostname")
		from := s.dev.Count()
		s.write("app/run.sh", "echo these are my last words; exit 3\n")
		e := s.event(from, within, "the crash", func(e devtest.Event) bool { return e.Event == "failed" && e.Service == "app" })
		if !strings.Contains(e.Error, "exit status 3") || !strings.Contains(e.Error, "these are my last words") {
			t.Errorf("the error does not show why: %s", e.Error)
		}
		from = s.dev.Count()
		s.write("app/run.sh", "echo cured; sleep 1000\n")
		s.event(from, within, "the cure", serving("app", "sync+restart"))
		for i, o := range s.exec("app", "hostname") {
			if o.stdout != containers[i].stdout {
				t.Errorf("it is another pod: %s, not %s", o.stdout, containers[i].stdout)
			}
		}
	})
}
