package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asSupervisor in the environment makes the test binary a supervisor with the
// options it holds, as the first process of namespaces like a container's.
const asSupervisor = "BERTH_TEST_SUPERVISE"

type testOptions struct {
	Command    []string
	StopSignal syscall.Signal
	Grace      time.Duration
	Restart    string
	Hold       time.Duration
	Once       bool
	Limits     []Limit
}

func TestMain(m *testing.M) {
	raw := os.Getenv(asSupervisor)
	if raw == "" {
		os.Exit(m.Run())
	}
	var o testOptions
	err := errors.Join(os.Unsetenv(asSupervisor), json.Unmarshal([]byte(raw), &o),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""))
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	control, listenErr := Listen()
	if err = errors.Join(err, listenErr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	status, err := Run(context.Background(), Options{
		Command: o.Command, StopSignal: o.StopSignal, Grace: o.Grace, Restart: o.Restart, Hold: o.Hold, Once: o.Once, Limits: o.Limits,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Log: os.Stderr, Control: control, Signals: signals,
		MinBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(status)
}

// container is a supervisor that runs as PID 1.
type container struct {
	t    testing.TB
	cmd  *exec.Cmd
	dir  string
	mu   sync.Mutex
	out  bytes.Buffer
	done chan struct{}
	code int
}

func (c *container) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *container) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func run(t testing.TB, o testOptions) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the supervisor runs in namespaces of its own")
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, dir: t.TempDir(), done: make(chan struct{})}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Dir = c.dir
	c.cmd.Env = append(os.Environ(), asSupervisor+"="+string(raw))
	c.cmd.Stdout, c.cmd.Stderr = c, c
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	c.cmd.WaitDelay = time.Second
	if err := c.cmd.Start(); err != nil {
		t.Skipf("needs the right to make namespaces: %v", err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait()
		c.code = c.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.done
	})
	c.until("the supervisor to listen", func() bool {
		_, err := Ask(t.Context(), c.cmd.Process.Pid, Request{Op: OpStatus})
		return err == nil || strings.Contains(err.Error(), "not in") || strings.Contains(err.Error(), "no such file")
	})
	return c
}

func (c *container) until(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited 10 s for %s; output:\n%s", what, c.output())
		}
	}
}

func (c *container) shows(text string) {
	c.t.Helper()
	c.until(strconv.Quote(text), func() bool { return strings.Contains(c.output(), text) })
}

func (c *container) ask(op string) Reply {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	r, err := Ask(ctx, c.cmd.Process.Pid, Request{Op: op})
	if err != nil {
		c.t.Fatalf("%s: %v; output:\n%s", op, err, c.output())
	}
	return r
}

func (c *container) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) exits(code int) {
	c.t.Helper()
	select {
	case <-c.done:
		if c.code != code {
			c.t.Errorf("exit status %d, want %d; output:\n%s", c.code, code, c.output())
		}
	case <-time.After(10 * time.Second):
		c.t.Fatalf("still running; output:\n%s", c.output())
	}
}

func shell(script string) []string { return []string{"sh", "-c", script} }

func TestRestartStartsTheProgramAgainInTheSameContainer(t *testing.T) {
	c := run(t, testOptions{Command: shell("echo run >> log; echo up; sleep 1000")})
	c.shows("up")
	first := c.ask(OpStatus)
	begin := time.Now()
	second := c.ask(OpRestart)
	t.Logf("restarted in %s", time.Since(begin))
	if !second.Running || second.Pid == first.Pid || second.Starts != 2 {
		t.Errorf("%+v after %+v", second, first)
	}
	c.until("two lines", func() bool {
		raw, err := os.ReadFile(filepath.Join(c.dir, "log"))
		return err == nil && string(raw) == "run\nrun\n"
	})
}

func TestCrashKeepsTheContainer(t *testing.T) {
	c := run(t, testOptions{Command: shell("test -e fixed || exit 3; echo up; sleep 1000")})
	c.shows("berth: the program ended (exit status 3) after")
	c.shows("waiting for a change")
	if r := c.ask(OpStatus); r.Running || r.Status != 3 {
		t.Errorf("%+v", r)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "fixed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := c.ask(OpRestart); !r.Running {
		t.Errorf("%+v", r)
	}
	c.shows("up")
	c.signal(syscall.SIGTERM)
	c.exits(128 + 15)
}

func TestRestartWaitsUntilTheProgramListensAgain(t *testing.T) {
	script := fmt.Sprintf(`import socket, time, sys
if open("boot").read() == "bad": sys.exit(5)
time.sleep(float(open("boot").read()))
s = socket.create_server(("127.0.0.1", %d), reuse_port=True); print("up", flush=True)
while True: s.accept()`, freePort(t))
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	c := run(t, testOptions{Command: shell("while ! test -e boot; do sleep 0.01; done; exec " + python + " -c '" + strings.ReplaceAll(script, "'", `'\''`) + "'")})
	boot := func(how string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.dir, "boot"), []byte(how), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	boot("0")
	c.shows("up")
	boot("0.3")
	begin := time.Now()
	if r := c.ask(OpRestart); !r.Running || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("%+v after %s", r, time.Since(begin))
	}
	boot("bad")
	begin = time.Now()
	if r := c.ask(OpRestart); r.Running || r.Status != 5 || time.Since(begin) > checkFor {
		t.Errorf("%+v after %s", r, time.Since(begin))
	}
	boot("0.2")
	begin = time.Now()
	if r := c.ask(OpRestart); !r.Running || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("it has forgotten where the program listens: %+v after %s", r, time.Since(begin))
	}
}

// freePort is a port that nobody listens on, below those that the kernel hands
// out, as servers use.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func TestAwaitTellsOfEveryEndAndStart(t *testing.T) {
	c := run(t, testOptions{Command: shell("while test -e stay; do sleep 0.01; done; exit 6")})
	c.until("the end", func() bool { return !c.ask(OpStatus).Running })
	await := func(known Reply) Reply {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := Ask(ctx, c.cmd.Process.Pid, Request{Op: OpAwait, Starts: known.Starts, Running: known.Running})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	known := await(Reply{Starts: 1, Running: true})
	if known.Running || known.Status != 6 || known.Starts != 1 {
		t.Fatalf("%+v", known)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "stay"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var asker sync.WaitGroup
	asker.Go(func() { c.ask(OpRestart) })
	if known = await(known); !known.Running || known.Starts != 2 {
		t.Errorf("%+v", known)
	}
	asker.Wait()
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := Ask(impatient, c.cmd.Process.Pid, Request{Op: OpAwait, Starts: 2, Running: true}); err == nil {
		t.Errorf("nothing has changed, but: %+v", r)
	}
	if err := os.Remove(filepath.Join(c.dir, "stay")); err != nil {
		t.Fatal(err)
	}
	if known = await(known); known.Running || known.Starts != 2 {
		t.Errorf("%+v", known)
	}
}

func TestStopEndsTheContainerWithTheProgramsStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		options testOptions
		signal  syscall.Signal
		code    int
	}{
		"SIGTERM":           {testOptions{Command: shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")}, syscall.SIGTERM, 7},
		"no handler":        {testOptions{Command: shell("echo up; exec sleep 1000")}, syscall.SIGTERM, 143},
		"own stop signal":   {testOptions{Command: shell("trap 'exit 8' USR2; echo up; while :; do sleep 0.01; done"), StopSignal: syscall.SIGUSR2}, syscall.SIGUSR2, 8},
		"killed":            {testOptions{Command: shell("trap 'kill -9 $$' TERM; echo up; while :; do sleep 0.01; done")}, syscall.SIGTERM, 137},
		"ended before":      {testOptions{Command: shell("echo up; exit 4")}, syscall.SIGTERM, 4},
		"with others alive": {testOptions{Command: shell("sleep 1000 & trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done")}, syscall.SIGTERM, 9},
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, tc.options)
			c.shows("up")
			if name == "ended before" {
				c.shows("waiting")
			}
			c.signal(tc.signal)
			c.exits(tc.code)
		})
	}
}

func TestOtherSignalsArePassedOn(t *testing.T) {
	c := run(t, testOptions{Command: shell("trap 'echo got HUP' HUP; trap 'echo got INT' INT; trap 'echo got WINCH' WINCH; echo up; while :; do sleep 0.01; done")})
	c.shows("up")
	for name, s := range map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "WINCH": syscall.SIGWINCH} {
		c.signal(s)
		c.shows("got " + name)
	}
	if r := c.ask(OpStatus); !r.Running || r.Starts != 1 {
		t.Errorf("%+v", r)
	}
}

func TestProgramThatWillNotStopIsKilledAfterItsGrace(t *testing.T) {
	c := run(t, testOptions{Command: shell("trap '' TERM; echo up; while :; do sleep 0.01; done"), Grace: 200 * time.Millisecond})
	c.shows("up")
	begin := time.Now()
	r := c.ask(OpRestart)
	if took := time.Since(begin); !r.Running || r.Starts != 2 || took < 200*time.Millisecond {
		t.Errorf("%+v after %s", r, took)
	}
}

func TestWhatTheProgramLeavesBehindIsKilledAtRestart(t *testing.T) {
	c := run(t, testOptions{Command: shell("(sleep 999 & sleep 999 &) ; (sh -c 'sleep 999 & sleep 999' &); echo up; exec sleep 998")})
	c.shows("up")
	count := func() (n int) {
		for _, pid := range descendants(c.cmd.Process.Pid) {
			raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.HasPrefix(string(raw), "sleep\x00999") {
				n++
			}
		}
		return n
	}
	c.until("four sleepers", func() bool { return count() == 4 })
	before := descendants(c.cmd.Process.Pid)
	c.ask(OpRestart)
	for _, pid := range descendants(c.cmd.Process.Pid) {
		if slices.Contains(before, pid) {
			t.Errorf("process %d has outlived the restart", pid)
		}
	}
}

func descendants(pid int) []int {
	var all []int
	for _, child := range childrenOf(pid) {
		all = append(append(all, child), descendants(child)...)
	}
	return all
}

func TestOrphansAreReaped(t *testing.T) {
	c := run(t, testOptions{Command: shell("i=0; while [ $i -lt 50 ]; do (sh -c 'sleep 0.01' &); i=$((i+1)); done; echo up; exec sleep 1000")})
	c.shows("up")
	c.until("only the program to be left", func() bool { return len(childrenOf(c.cmd.Process.Pid)) == 1 })
}

func TestRestartPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		policy string
		exit   int
		again  bool
	}{
		"always":             {"always", 0, true},
		"unless-stopped":     {"unless-stopped", 1, true},
		"on-failure, failed": {"on-failure", 1, true},
		"on-failure, done":   {"on-failure", 0, false},
		"no":                 {"no", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, testOptions{Command: shell(fmt.Sprintf("echo run >> log; test $(wc -l < log) -lt 4 && exit %d; echo up; sleep 1000", tc.exit)), Restart: tc.policy})
			if tc.again {
				c.shows("up")
				if r := c.ask(OpStatus); r.Starts != 4 {
					t.Errorf("%+v", r)
				}
				return
			}
			c.shows("the program ended")
			if r := c.ask(OpStatus); r.Running || r.Starts != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestHoldWaitsForTheFirstRequest(t *testing.T) {
	c := run(t, testOptions{Command: shell("echo up; sleep 1000"), Hold: time.Hour})
	if r := c.ask(OpStatus); r.Running || r.Starts != 0 {
		t.Errorf("%+v", r)
	}
	if r := c.ask(OpStart); !r.Running {
		t.Errorf("%+v", r)
	}
	if r := c.ask(OpStart); r.Starts != 1 {
		t.Errorf("a second start: %+v", r)
	}
	c.shows("up")
	short := run(t, testOptions{Command: shell("echo up; sleep 1000"), Hold: 20 * time.Millisecond})
	short.shows("up")
}

func TestProgramThatCannotStartWaitsForARequest(t *testing.T) {
	c := run(t, testOptions{Command: []string{"./app"}})
	c.shows("berth: cannot start")
	if err := os.WriteFile(filepath.Join(c.dir, "app"), []byte("#!/bin/sh\necho up\nsleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.ask(OpRestart)
	c.shows("up")
}

func TestDirectoryThatWasReplacedIsUsed(t *testing.T) {
	c := run(t, testOptions{Command: shell("echo \"content: $(cat file)\"; sleep 1000")})
	c.shows("content: ")
	parent := filepath.Dir(c.dir)
	if err := errors.Join(os.Rename(c.dir, filepath.Join(parent, "old")), os.Mkdir(c.dir, 0o755), os.WriteFile(filepath.Join(c.dir, "file"), []byte("new"), 0o644)); err != nil {
		t.Fatal(err)
	}
	c.ask(OpRestart)
	c.shows("content: new")
}

func TestRequestsAtOnceAreAllAnswered(t *testing.T) {
	c := run(t, testOptions{Command: shell("trap 'sleep 0.05; exit 0' TERM; echo up; while :; do sleep 0.01; done")})
	c.shows("up")
	var askers sync.WaitGroup
	for range 10 {
		askers.Go(func() {
			if r, err := Ask(t.Context(), c.cmd.Process.Pid, Request{Op: OpRestart}); err != nil || !r.Running {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	askers.Wait()
	if r := c.ask(OpStatus); !r.Running || r.Starts < 2 {
		t.Errorf("%+v", r)
	}
}

func TestProcessWithoutSupervisorSaysSo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := Ask(t.Context(), os.Getpid(), Request{Op: OpStatus}); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
}

func TestSignalNames(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"SIGTERM": 15, "term": 15, "9": 9, "SIGQUIT": 3, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SIGUSR1": 10,
	} {
		if got, err := ParseSignal(name); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"", "SIGNOPE", "0", "65", "SIGRTMIN+40", "-1"} {
		if got, err := ParseSignal(name); err == nil {
			t.Errorf("%q: %d", name, got)
		}
	}
}

// BenchmarkRestart is the time from a request until the new program has started.
func BenchmarkRestart(b *testing.B) {
	c := run(b, testOptions{Command: []string{"sleep", "1000"}})
	for b.Loop() {
		c.ask(OpRestart)
	}
}

// To the supervisor the other containers of the pod look as the node's agent
// does: from another process namespace, and root.
func TestOnlyWhoHasTheKeyMayAsk(t *testing.T) {
	c := run(t, testOptions{Command: shell("echo up; sleep 1000")})
	c.shows("up")
	before := c.ask(OpStatus)
	address, err := addressOf(fmt.Sprint(c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "another"} {
		conn, err := dialIn(t.Context(), c.cmd.Process.Pid, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(t.Context(), conn, Request{Op: OpRestart, Key: key}); err == nil || !strings.Contains(err.Error(), "only the node's agent") {
			t.Errorf("with key %q: %v", key, err)
		}
		conn.Close()
	}
	if after := c.ask(OpStatus); after.Pid != before.Pid {
		t.Errorf("it was restarted: %+v after %+v", after, before)
	}
}
