package examples

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// TestKilledAtRandomMoments kills `up` with SIGKILL twenty times, each time with
// another program to build and at a moment of its own; the same command must
// then succeed and serve that program.
func TestKilledAtRandomMoments(t *testing.T) {
	testneed.Long(t)
	p := newProject(t, "guestbook")
	began := time.Now()
	p.must("up")
	whole := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, moments within %s", seed, whole)
	random := rand.New(rand.NewPCG(seed, 0))
	title := "Welcome to the guestbook"
	for i := range 20 {
		next := fmt.Sprintf("Edition %d of the guestbook", i)
		p.edit("web/main.go", title, next)
		title = next
		cmd := p.command("up")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(random.Int64N(int64(whole)))
		kill := time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		t.Logf("%d: up ended (%v), to be killed after %s", i, err, moment.Round(time.Millisecond))
		p.must("up")
		p.serves(address(8080, "/"), title, rollout)
	}
}

// TestNodeStopsDuringUp stops a worker as soon as pods are made: up brings them
// up elsewhere, or says why not; with the node back it succeeds.
func TestNodeStopsDuringUp(t *testing.T) {
	testneed.Long(t)
	p := newProject(t, "guestbook")
	worker := p.cluster + "-worker2"
	t.Cleanup(func() { p.must("cluster", "node", "start", worker, "--name", p.cluster) })
	cmd := p.command("up")
	var output testneed.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p.eventually(rollout, "pods to be made", func() error {
		if text := output.String(); !strings.Contains(text, "start redis") {
			return fmt.Errorf("up said so far: %s", text)
		}
		return nil
	})
	p.must("cluster", "node", "stop", worker, "--name", p.cluster)
	select {
	case err := <-ended:
		t.Logf("up: %v\n%s", err, output.String())
		if err != nil && !strings.Contains(output.String(), "node") {
			t.Errorf("up failed and did not speak of the node:\n%s", output.String())
		}
	case <-time.After(verbLimit):
		_ = cmd.Process.Kill()
		t.Fatalf("up did not end within %s:\n%s", verbLimit, output.String())
	}
	p.must("cluster", "node", "start", worker, "--name", p.cluster)
	p.must("up")
	p.serves(address(8080, "/"), "Welcome to the guestbook", soon)
}

// TestLogsGoOnWhenTheAPIServerRestarts counts the lines that `logs -f` shows: none
// may be missing, none twice.
func TestLogsGoOnWhenTheAPIServerRestarts(t *testing.T) {
	testneed.Long(t)
	p := newProbeProject(t, "behave-logs", `
name: behave-logs
services:
  talker: {image: berth.test/probe, command: [say, hello]}
`)
	p.must("up")
	cmd := p.command("logs", "-f", "--no-log-prefix", "talker")
	var output, errors testneed.Buffer
	cmd.Stdout, cmd.Stderr = &output, &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	}()
	p.eventually(soon, "the first lines", func() error { return consecutive(output.String(), 2) })
	before := strings.Count(output.String(), "\n")

	node := p.cluster + "-control-plane"
	id := p.docker("exec", node, "crictl", "ps", "--name", "kube-apiserver", "-q")
	p.docker("exec", node, "crictl", "stop", "--timeout", "1", id)
	p.eventually(rollout, "the API server to be back, in a new container", func() error {
		now := p.docker("exec", node, "crictl", "ps", "--name", "kube-apiserver", "-q")
		if now == "" || now == id {
			return fmt.Errorf("container %q", now)
		}
		_, stderr, err := p.run("ps")
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		return nil
	})
	p.eventually(rollout, "ten more lines, none missing and none twice", func() error {
		return consecutive(output.String(), before+10)
	})
	if lines := strings.Count(errors.String(), "\n"); lines > 20 {
		t.Errorf("%d lines on stderr:\n%s", lines, errors.String())
	}
}

// consecutive checks that the lines of the talker count up from 0 to n at least.
func consecutive(text string, n int) error {
	count := 0
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		number, _, _ := strings.Cut(line, " ")
		if number != strconv.Itoa(count) {
			return fmt.Errorf("line %d is %q:\n%s", count, line, text)
		}
		count++
	}
	if count <= n {
		return fmt.Errorf("%d lines", count)
	}
	return nil
}

// TestEngineRestarts kills the Docker Engine that the offline kit started and
// starts it again: cluster, pods and published ports come back by themselves.
func TestEngineRestarts(t *testing.T) {
	testneed.Full(t)
	pid := kitsEngine(t)
	p := newProject(t, "guestbook")
	p.must("up")
	page := address(8080, "/")
	p.serves(page, "Welcome to the guestbook", soon)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.eventually(2*rollout, "the engine to end", func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return fmt.Errorf("process %d runs", pid)
		}
		return nil
	})
	if _, err := p.get(page); err == nil {
		t.Error("the page is served without an engine")
	}
	p.must("offline", "engine")
	began := time.Now()
	p.serves(page, "Welcome to the guestbook", 2*rollout)
	t.Logf("served again %.1fs after the engine was back", time.Since(began).Seconds())
	p.eventually(rollout, "two web pods", func() error { return p.ready("web", 2) })
	p.must("up")
}

// kitsEngine is the process of the engine that the offline kit started; the
// test is skipped where there is another.
func kitsEngine(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		t.Skip("needs an engine that the offline kit started: ", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(args), "--pidfile\x00/var/run/docker.pid") {
		t.Skip("needs an engine that the offline kit started")
	}
	return pid
}
