package examples

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// compose puts the ports of this run into a compose file: PORT+n is
// hostPort(8100+n).
func compose(text string) string {
	for i := range 10 {
		text = strings.ReplaceAll(text, fmt.Sprintf("PORT%d", i), hostPort(8110+i))
	}
	return text
}

// TestOrderHealthAndOneShots is about depends_on: every condition, jobs that
// run once, and failures that stop their branch alone.
func TestOrderHealthAndOneShots(t *testing.T) {
	p := newProbeProject(t, "behave-order", compose(`
name: behave-order
services:
  migrate:
    image: berth.test/probe
    command: [exit, "0", 1s]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: berth.test/probe
    healthcheck: {test: [CMD, /program, healthy, "http://db:8080/"], interval: 1s, start_period: 10s, start_interval: 500ms}
  web:
    image: berth.test/probe
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy, restart: true}
      elsewhere: {condition: service_started, required: false}
    ports: ["PORT0:8080"]
  elsewhere: {image: berth.test/probe, profiles: [never]}
  once: {image: berth.test/probe, command: [exit, "0"]}
  off:
    image: berth.test/probe
    healthcheck: {disable: true}
`))
	p.must("up")
	p.serves(address(8110, "/"), "web", soon)

	t.Run("a one-shot service ran once, and is not run again", func(t *testing.T) {
		if n := p.runs("migrate"); n != 1 {
			t.Errorf("it ran %d times", n)
		}
		p.must("up")
		if n := p.runs("migrate"); n != 1 {
			t.Errorf("it ran %d times after a second up", n)
		}
	})
	t.Run("a service that ends well is no crash loop", func(t *testing.T) {
		if ps := p.must("ps", "-a"); strings.Contains(ps, "CrashLoopBackOff") {
			t.Errorf("ps says\n%s", ps)
		}
	})
	t.Run("a changed job runs again", func(t *testing.T) {
		p.edit("compose.yaml", `[exit, "0", 1s]`, `[exit, "0", 2s]`)
		p.must("up")
		if logs := p.must("logs", "--no-log-prefix", "migrate"); strings.Count(logs, "ending with 0") != 1 {
			t.Errorf("the log of its only pod is %q", logs)
		}
	})
	t.Run("a failing dependency fails its branch alone, with its last lines", func(t *testing.T) {
		p.edit("compose.yaml", `[exit, "0", 2s]`, `[exit, "3"]`)
		stdout, stderr, err := p.run("up", "--force-recreate")
		if status := exitStatus(err); status != 1 {
			t.Errorf("exit status %d", status)
		}
		for _, want := range []string{"migrate", "exit code 3", "ending with 3"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("the error lacks %q:\n%s%s", want, stdout, stderr)
			}
		}
		if err := p.ready("db", 1); err != nil {
			t.Errorf("db, which depends on nothing: %v", err)
		}
	})
}

// runs counts how often a service's command has run by its log.
func (p *project) runs(service string) int {
	p.t.Helper()
	return strings.Count(p.must("logs", service), "ending with 0")
}

// exitStatus is the status that a command ended with, -1 when it did not run.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// TestPorts is about published ports: names inside, the host's side outside.
func TestPorts(t *testing.T) {
	p := newProbeProject(t, "behave-ports", compose(`
name: behave-ports
services:
  open: {image: berth.test/probe, environment: {PORT: "9999"}}
  web:
    image: berth.test/probe
    ports:
      - "127.0.0.1:PORT0:8080"
      - "PORT1:8080/udp"
      - "PORT2-PORT3:8080"
      - "8080"
  balanced: {image: berth.test/probe, ports: ["PORT5:8080"], x-berth: {serviceType: LoadBalancer}}
`))
	p.must("up")
	t.Run("a load balancer has an address", func(t *testing.T) {
		if got := p.kubectl("get", "services", "-n", p.name, "-o", "jsonpath={.items[*].status.loadBalancer.ingress[*].hostname}"); got != "localhost" {
			t.Errorf("its status says %q", got)
		}
		p.serves(address(8115, "/"), "balanced", soon)
	})
	t.Run("an undeclared port answers by name", func(t *testing.T) {
		if got := p.must("exec", "-T", "web", "/program", "get", "http://open:9999/"); !strings.Contains(got, "open") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("tcp, udp, a range and a random port", func(t *testing.T) {
		p.serves(address(8110, "/"), "web", soon)
		p.echoes(hostPort(8111))
		random := strings.TrimSpace(p.must("port", "web", "8080"))
		if !strings.HasPrefix(random, "127.0.0.1:") {
			t.Fatalf("berth port says %q", random)
		}
	})
	t.Run("a changed port, without another cluster", func(*testing.T) {
		p.edit("compose.yaml", "127.0.0.1:"+hostPort(8110), "127.0.0.1:"+hostPort(8114))
		p.must("up")
		p.serves(address(8114, "/"), "web", soon)
		if _, err := p.get(address(8110, "/")); err == nil {
			t.Error("the port of before still answers")
		}
	})
	t.Run("down frees them all", func(*testing.T) {
		p.must("down", "--volumes")
		p.leavesNothing(hostPort(8110), hostPort(8112), hostPort(8114))
		p.udpIsFree(hostPort(8111))
	})
}

// echoes sends a datagram to the host's port and waits for its echo.
func (p *project) echoes(port string) {
	p.t.Helper()
	conn, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("ahoy")); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "ahoy" {
		p.t.Errorf("udp port %s: %q, %v", port, buf[:n], err)
	}
}

// fileEntry is a line of what the probe's `file` prints.
type fileEntry struct {
	Path, Mode string
	UID, GID   uint32
	Size       int64
	Content    string
	Files      []string
}

// files looks at paths from inside a service's container.
func (p *project) files(service string, paths ...string) map[string]fileEntry {
	p.t.Helper()
	found := map[string]fileEntry{}
	out := p.must(append([]string{"exec", "-T", service, "/program", "file"}, paths...)...)
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); {
		var e fileEntry
		if err := decoder.Decode(&e); err != nil {
			p.t.Fatalf("%v: %s", err, out)
		}
		found[e.Path] = e
	}
	return found
}

// TestFilesAndData is about configs, secrets, bind mounts and volumes.
func TestFilesAndData(t *testing.T) {
	p := newProbeProject(t, "behave-files", `
name: behave-files
services:
  app:
    image: behave-files/app
    build: {context: image}
    volumes:
      - data:/data
      - data:/again
      - nocopy:/nocopy-data
      - /anonymous
      - ./single.txt:/single.txt:ro
      - ./folder:/folder:ro
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1m, mode: 0o700}}
    configs:
      - plain
      - {source: exact, target: /etc/exact.conf, uid: "1234", gid: "2345", mode: 0o440}
    secrets:
      - hush
      - {source: shell, target: /run/elsewhere, uid: "1234", gid: "2345", mode: 0o400}
  reader:
    image: berth.test/probe
    volumes: ["data:/shared", "app-only:/empty"]
    depends_on: [app]
volumes: {data: {}, nocopy: {}, app-only: {}}
configs:
  plain: {content: "plain words"}
  exact: {file: ./exact.conf}
secrets:
  hush: {file: ./hush.txt}
  shell: {environment: BEHAVE_SECRET}
`)
	t.Setenv("BEHAVE_SECRET", "from the shell")
	p.write("image/Dockerfile", "FROM berth.test/probe\nCOPY --chown=1001:1002 --chmod=0640 seed /data/seed\nCOPY --chown=1001:1002 seed /anonymous/seed\nCOPY seed /nocopy-data/seed\nENTRYPOINT [\"/program\"]\n")
	p.write("image/seed", "seeded")
	p.write("single.txt", "one file")
	p.write("folder/inner.txt", "in a folder")
	p.write("exact.conf", "exactly")
	p.write("hush.txt", "hush\n")
	p.must("up")

	t.Run("configs and secrets are exact files", func(t *testing.T) {
		got := p.files("app", "/plain", "/etc/exact.conf", "/run/secrets/hush", "/run/elsewhere")
		want := map[string]fileEntry{
			"/plain":            {Path: "/plain", Mode: "-r--r--r--", Size: 11, Content: "plain words"},
			"/etc/exact.conf":   {Path: "/etc/exact.conf", Mode: "-r--r-----", UID: 1234, GID: 2345, Size: 7, Content: "exactly"},
			"/run/secrets/hush": {Path: "/run/secrets/hush", Mode: "-r--r--r--", Size: 5, Content: "hush\n"},
			"/run/elsewhere":    {Path: "/run/elsewhere", Mode: "-r--------", UID: 1234, GID: 2345, Size: 14, Content: "from the shell"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
	t.Run("bind mounts", func(t *testing.T) {
		got := p.files("app", "/single.txt", "/folder/inner.txt")
		if got["/single.txt"].Content != "one file" || got["/folder/inner.txt"].Content != "in a folder" {
			t.Errorf("got %+v", got)
		}
		if _, _, err := p.run("exec", "-T", "app", "/program", "write", "/single.txt", "x"); err == nil {
			t.Error("a read-only mount was written to")
		}
	})
	t.Run("a volume is filled from the image, once", func(t *testing.T) {
		got := p.files("app", "/data/seed", "/again/seed", "/anonymous/seed", "/nocopy-data")
		for _, path := range []string{"/data/seed", "/again/seed", "/anonymous/seed"} {
			if e := got[path]; e.Content != "seeded" || e.UID != 1001 || e.GID != 1002 {
				t.Errorf("%s: %+v", path, e)
			}
		}
		if e := got["/data/seed"]; e.Mode != "-rw-r-----" {
			t.Errorf("mode of /data/seed: %s", e.Mode)
		}
		p.must("exec", "-T", "app", "/program", "write", "/data/seed", "changed")
		p.must("restart", "app")
		p.must("up")
		if e := p.files("app", "/data/seed")["/data/seed"]; e.Content != "changed" {
			t.Errorf("after a restart: %+v", e)
		}
		if e := p.files("reader", "/shared/seed")["/shared/seed"]; e.Content != "changed" {
			t.Errorf("through another service: %+v", e)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		if e := p.files("app", "/scratch")["/scratch"]; e.Mode != "drwx------" {
			t.Errorf("/scratch: %+v", e)
		}
	})
	t.Run("a changed config rolls the pod", func(t *testing.T) {
		p.edit("compose.yaml", "plain words", "other words")
		p.must("up")
		if e := p.files("app", "/plain")["/plain"]; e.Content != "other words" {
			t.Errorf("/plain: %+v", e)
		}
	})
	t.Run("cp", p.copies)
	t.Run("down and up keep the data", func(t *testing.T) {
		p.must("down")
		p.must("up")
		if e := p.files("app", "/data/seed")["/data/seed"]; e.Content != "changed" {
			t.Errorf("after down and up: %+v", e)
		}
		p.must("down", "--volumes", "--rmi", "local")
		p.leavesNothing()
	})
}

// copies copies files and folders into and out of an image without a shell.
func (p *project) copies(t *testing.T) {
	p.write("up/one.txt", "one")
	p.write("up/deep/two.txt", "two")
	p.must("cp", "up", "app:/data/")
	p.must("cp", "up/.", "app:/data")
	p.must("cp", "up/one.txt", "app:/data/renamed.txt")
	got := p.files("app", "/data/up/deep/two.txt", "/data/one.txt", "/data/renamed.txt")
	for path, want := range map[string]string{"/data/up/deep/two.txt": "two", "/data/one.txt": "one", "/data/renamed.txt": "one"} {
		if e := got[path]; e.Content != want || e.UID != 0 {
			t.Errorf("%s: %+v", path, e)
		}
	}
	p.must("cp", "app:/data/up", "out")
	p.must("cp", "app:/data/up", "out")
	p.must("cp", "app:/plain", "plain.txt")
	for path, want := range map[string]string{"out/deep/two.txt": "two", "out/up/one.txt": "one", "plain.txt": "other words"} {
		content, err := os.ReadFile(filepath.Join(p.dir, path))
		if err != nil || string(content) != want {
			t.Errorf("%s: %q, %v", path, content, err)
		}
	}
	for _, args := range [][]string{{"app:/nowhere", "x"}, {"up", "app:/no/such/folder/x"}, {"up", "app:/plain"}, {"up/one.txt", "out/none/"}, {"app:/data", "plain.txt"}} {
		if _, stderr, err := p.run("cp", args[0], args[1]); err == nil || !strings.Contains(stderr, "Error: ") {
			t.Errorf("cp %v: %v %s", args, err, stderr)
		}
	}
	tar := p.command("cp", "app:/data/up", "-")
	list := exec.Command("tar", "-t")
	pipe, err := tar.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	list.Stdin = pipe
	if err := tar.Start(); err != nil {
		t.Fatal(err)
	}
	names, err := list.Output()
	if err := errors.Join(err, tar.Wait()); err != nil || !strings.Contains(string(names), "up/deep/two.txt") {
		t.Errorf("the tar holds %q, %v", names, err)
	}
}

// TestProcess is about what a process finds itself to be.
func TestProcess(t *testing.T) {
	p := newProbeProject(t, "behave-process", `
name: behave-process
services:
  plain: {image: berth.test/probe}
  dressed:
    image: berth.test/probe
    user: "1234:2345"
    group_add: ["77"]
    init: true
    hostname: dressed-host
    working_dir: /proc
    cap_drop: [ALL]
    cap_add: [NET_ADMIN]
    security_opt: ["no-new-privileges:true"]
    sysctls: {net.core.somaxconn: "777"}
    shm_size: 128m
    stop_signal: SIGUSR1
    environment: {GREETING: "$$HOME and $$(PATH)"}
  stubborn: {image: berth.test/probe, command: [stubborn], stop_grace_period: 1s}
  beside: {image: berth.test/probe, network_mode: "service:plain", environment: {PORT: "9000"}}
  frozen: {image: berth.test/probe, read_only: true}
`)
	p.must("up")
	type self struct {
		Host, Dir, First, Capabilities, NoNewPrivileges, Somaxconn string
		UID, GID                                                   int
		Groups                                                     []int
		Env                                                        []string
		Shm                                                        int64
	}
	look := func(t *testing.T, service string) self {
		t.Helper()
		var s self
		if err := json.Unmarshal([]byte(p.must("exec", "-T", service, "/program", "self")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("user, groups, limits, kernel settings", func(t *testing.T) {
		s := look(t, "dressed")
		checks := map[string]bool{
			"uid":               s.UID == 1234 && s.GID == 2345,
			"groups":            slices.Contains(s.Groups, 77),
			"hostname":          s.Host == "dressed-host",
			"working directory": s.Dir == "/proc",
			"capabilities":      s.Capabilities == "0000000000001000",
			"no new privileges": s.NoNewPrivileges == "1",
			"sysctl":            s.Somaxconn == "777",
			"shm_size":          s.Shm == 128<<20,
			"environment":       slices.Contains(s.Env, "GREETING=$HOME and $(PATH)"),
			"init":              !strings.HasPrefix(s.First, "/program"),
		}
		for what, ok := range checks {
			if !ok {
				t.Errorf("%s: %+v", what, s)
			}
		}
	})
	t.Run("no service links, no token", func(t *testing.T) {
		s := look(t, "plain")
		for _, e := range s.Env {
			if strings.Contains(e, "_SERVICE_HOST=") && !strings.HasPrefix(e, "KUBERNETES_") || strings.Contains(e, "_PORT_8080") {
				t.Errorf("variable %s", e)
			}
		}
		if _, _, err := p.run("exec", "-T", "plain", "/program", "file", "/var/run/secrets/kubernetes.io"); err == nil {
			t.Error("there is an API token")
		}
	})
	t.Run("network_mode service", func(t *testing.T) {
		if got := p.must("exec", "-T", "plain", "/program", "get", "http://127.0.0.1:9000/"); got == "" {
			t.Error("the other service does not answer on localhost")
		}
	})
	t.Run("read_only", func(t *testing.T) {
		if _, _, err := p.run("exec", "-T", "frozen", "/program", "write", "/x", "y"); err == nil {
			t.Error("the root was written to")
		}
	})
	t.Run("kill and top need nothing of the image", func(t *testing.T) {
		p.must("kill", "-s", "HUP", "plain")
		p.eventually(soon, "the signal", func() error {
			if logs := p.must("logs", "plain"); !strings.Contains(logs, "signal hangup") {
				return errors.New(logs)
			}
			return nil
		})
		if top := p.must("top", "stubborn"); !strings.Contains(top, "/program stubborn") {
			t.Errorf("top says %q", top)
		}
	})
	t.Run("grace period", func(t *testing.T) {
		began := time.Now()
		p.must("stop", "stubborn", "dressed")
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("stopping took %s", took)
		}
	})
}

// TestVerbs is about one-off commands, exit statuses and logs.
func TestVerbs(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-verbs", compose(`
name: behave-verbs
services:
  web: {image: berth.test/probe, ports: ["PORT0:8080"], volumes: ["data:/data"]}
  talker: {image: berth.test/probe, command: [say, hello]}
volumes: {data: {}}
`))
	p.must("up")
	t.Run("exec passes status and streams", func(t *testing.T) {
		stdout, stderr, err := p.run("exec", "-T", "web", "/program", "exit", "7")
		if exitStatus(err) != 7 || !strings.Contains(stdout, "ending with 7") {
			t.Errorf("%q %q %v", stdout, stderr, err)
		}
		if _, _, err := p.run("exec", "-T", "web", "/none"); exitStatus(err) != 127 {
			t.Errorf("a missing program: %v", err)
		}
	})
	t.Run("run", func(t *testing.T) {
		stdout, _, err := p.run("run", "--rm", "-T", "-e", "X=y", "web", "exit", "5")
		if exitStatus(err) != 5 || !strings.Contains(stdout, "ending with 5") {
			t.Errorf("%q %v", stdout, err)
		}
		if out := p.must("run", "-T", "--entrypoint", "/program self", "-e", "X=y", "web"); !strings.Contains(out, "X=y") {
			t.Errorf("run -e: %s", out)
		}
		p.must("run", "-T", "-v", "data:/other", "web", "write", "/other/by-run", "there")
		if e := p.files("web", "/data/by-run")["/data/by-run"]; e.Content != "there" {
			t.Errorf("run -v: %+v", e)
		}
	})
	t.Run("run publishes ports while it runs", func(*testing.T) {
		cmd := p.command("run", "-T", "-p", hostPort(8115)+":8080", "web", "serve")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p.serves(address(8115, "/"), "web-run", 3*soon)
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	t.Run("logs", func(t *testing.T) {
		if logs := p.must("logs", "--tail", "1", "--timestamps", "talker"); strings.Count(logs, "\n") != 1 || !strings.Contains(logs, "hello") {
			t.Errorf("logs --tail 1: %q", logs)
		}
	})
	t.Run("ps and ls", func(t *testing.T) {
		if ps := p.must("ps"); !strings.Contains(ps, hostPort(8110)+"->8080/tcp") {
			t.Errorf("ps: %s", ps)
		}
		if ls := p.must("ls"); !strings.Contains(ls, "behave-verbs") {
			t.Errorf("ls: %s", ls)
		}
	})
	t.Run("scale, restart, stop and start", func(t *testing.T) {
		p.must("scale", "web=2")
		p.eventually(rollout, "two pods", func() error { return p.ready("web", 2) })
		p.must("restart", "talker")
		p.must("stop", "web")
		p.must("start", "web")
		p.eventually(rollout, "two pods again", func() error { return p.ready("web", 2) })
	})
	t.Run("rollback", func(t *testing.T) {
		p.edit("compose.yaml", "[say, hello]", "[say, bonjour]")
		p.must("up")
		p.must("rollback", "talker")
		p.eventually(rollout, "the words of before", func() error {
			if logs := p.must("logs", "--tail", "1", "talker"); !strings.Contains(logs, "hello") {
				return errors.New(logs)
			}
			return nil
		})
	})
}

// TestUpThatStays is about --abort-on-container-exit and --exit-code-from.
func TestUpThatStays(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-stays", `
name: behave-stays
services:
  server: {image: berth.test/probe}
  migrate: {image: berth.test/probe, command: [exit, "0"]}
  tests:
    image: berth.test/probe
    command: [exit, "4", 2s]
    depends_on:
      server: {condition: service_started}
      migrate: {condition: service_completed_successfully}
`)
	for _, flags := range [][]string{{"--abort-on-container-exit"}, {"--exit-code-from", "tests"}, {"--abort-on-container-failure"}} {
		t.Run(flags[0], func(t *testing.T) {
			stdout, stderr, err := p.run(append([]string{"up", "--force-recreate"}, flags...)...)
			if exitStatus(err) != 4 || !strings.Contains(stdout, "ending with 4") || !strings.Contains(stdout, "serving on 8080") || !strings.Contains(stdout, "signal terminated") {
				t.Errorf("status %d\n%s\n%s", exitStatus(err), stdout, stderr)
			}
			if ps := p.must("ps", "--status", "running", "-q"); ps != "" {
				t.Errorf("still running: %s", ps)
			}
		})
	}
	t.Run("--attach and --no-attach", func(t *testing.T) {
		for _, flags := range [][]string{{"--attach", "tests"}, {"--no-attach", "server"}} {
			stdout, _, err := p.run(append([]string{"up", "--force-recreate", "--exit-code-from", "tests"}, flags...)...)
			if exitStatus(err) != 4 || !strings.Contains(stdout, "ending with 4") || strings.Contains(stdout, "serving on 8080") {
				t.Errorf("%v: status %d\n%s", flags, exitStatus(err), stdout)
			}
		}
	})
	t.Run("down --timeout", func(*testing.T) {
		p.must("up", "server")
		p.must("down", "--volumes", "--timeout", "0")
		p.leavesNothing()
	})
}

// TestOrderOfEnds is about who stops, and starts, before whom, with and without
// the compose file, and about services that are created and not started.
func TestOrderOfEnds(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-order", `
name: behave-order
services:
  web: {image: berth.test/probe, command: [serve], depends_on: [api]}
  api: {image: berth.test/probe, command: [serve], depends_on: {db: {condition: service_healthy, restart: true}}}
  db:
    image: berth.test/probe
    command: [serve]
    healthcheck: {test: [CMD, /program, exit, "0"], interval: 1s}
`)
	order := func(stderr, state string) string {
		var names []string
		for line := range strings.Lines(stderr) {
			for _, name := range []string{"web", "api", "db"} {
				if strings.Contains(line, name) && strings.Contains(line, state) && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		return strings.Join(names, " ")
	}
	t.Run("created", func(t *testing.T) {
		p.must("up", "--no-start")
		if ps := p.must("ps", "-a", "--status", "created", "--services"); ps != "api\ndb\nweb\n" {
			t.Errorf("created: %q", ps)
		}
		p.must("start")
		for _, service := range []string{"web", "api", "db"} {
			if err := p.ready(service, 1); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("stop", func(t *testing.T) {
		_, stderr, err := p.run("--progress", "plain", "stop")
		if got := order(stderr, "stopped"); err != nil || got != "web api db" {
			t.Errorf("stopped %q: %v\n%s", got, err, stderr)
		}
	})
	t.Run("start of one starts what it depends on", func(t *testing.T) {
		_, stderr, err := p.run("--progress", "plain", "start", "api")
		if got := order(stderr, "starting"); err != nil || got != "db api" {
			t.Errorf("starting %q: %v\n%s", got, err, stderr)
		}
		p.must("start")
	})
	t.Run("restart takes along what restarts with it", func(t *testing.T) {
		_, stderr, err := p.run("--progress", "plain", "restart", "db")
		if got := order(stderr, "restarted"); err != nil || !strings.Contains(got, "api") || strings.Contains(got, "web") {
			t.Errorf("restarted %q: %v\n%s", got, err, stderr)
		}
		_, stderr, err = p.run("--progress", "plain", "restart", "--no-deps", "-t", "0", "db")
		if got := order(stderr, "restarted"); err != nil || got != "db" {
			t.Errorf("restarted %q: %v\n%s", got, err, stderr)
		}
	})
	t.Run("down", func(t *testing.T) {
		_, stderr, err := p.run("--progress", "plain", "down", "--volumes")
		if got := order(stderr, "stopped"); err != nil || got != "web api db" {
			t.Errorf("stopped %q: %v\n%s", got, err, stderr)
		}
		p.leavesNothing()
	})
}

// TestHealing measures how long a killed container and the pods of a stopped
// node take to be back.
func TestHealing(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-heal", compose(`
name: behave-heal
services:
  web: {image: berth.test/probe, ports: ["PORT0:8080"], restart: always, deploy: {replicas: 2}}
`))
	p.must("up")
	t.Run("a container that dies", func(t *testing.T) {
		_, _ = p.get(address(8110, "/exit/1"))
		p.eventually(30*time.Second, "two pods after a container died", func() error {
			return p.ready("web", 2)
		})
		p.serves(address(8110, "/"), "web", soon)
	})
	t.Run("a node that stops", func(t *testing.T) {
		worker := p.cluster + "-worker2"
		p.must("cluster", "node", "stop", worker, "--name", p.cluster)
		t.Cleanup(func() { p.must("cluster", "node", "start", worker, "--name", p.cluster) })
		p.eventually(moved, "two pods on other nodes", func() error {
			pods, err := p.pods("web")
			if err != nil {
				return err
			}
			n := 0
			for _, x := range pods {
				if x.Node != worker && x.State == "running" {
					n++
				}
			}
			if n < 2 {
				return fmt.Errorf("%v", pods)
			}
			return nil
		})
		p.serves(address(8110, "/"), "web", soon)
	})
}
