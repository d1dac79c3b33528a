package examples

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledAndRunAgain kills berth as a power cut would, once in every step
// of its work; the same command must then succeed, and leave one whole project.
func TestKilledAndRunAgain(t *testing.T) {
	p := newProject(t, "guestbook")
	page := address(8080, "/")

	for _, step := range []string{"build web", "load " + p.name + "-web", "publish ports", "start web"} {
		p.killAt(step, "up")
	}
	p.must("up")
	p.serves(page, "Welcome to the guestbook", soon)

	p.killAt("guestbook listens", "dev") // it follows the logs now
	p.edit("web/main.go", "Welcome to the guestbook", "Changed while berth was away")
	stop := p.dev()
	p.serves(page, "Changed while berth was away", rollout)
	stop()

	p.killAt("remove", "down")
	p.must("down", "--volumes", "--rmi", "local")
	p.leavesNothing(hostPort(8080))
}

// TestTwoAtOnce runs `up` of one project twice at the same time, as two
// terminals do.
func TestTwoAtOnce(t *testing.T) {
	p := newProject(t, "guestbook")
	first, second := p.command("up"), p.command("up")
	var outputs [2]bytes.Buffer
	for i, cmd := range []*exec.Cmd{first, second} {
		cmd.Stdout, cmd.Stderr = &outputs[i], &outputs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range []*exec.Cmd{first, second} {
		if err := cmd.Wait(); err != nil {
			t.Errorf("up %d: %v\n%s", i, err, outputs[i].String())
		}
	}
	p.serves(address(8080, "/"), "Welcome to the guestbook", soon)
	p.eventually(soon, "two web pods", func() error { return p.ready("web", 2) })
}

// killAt runs berth and kills it with SIGKILL at the first line of output that
// contains text.
func (p *project) killAt(text string, args ...string) {
	p.t.Helper()
	cmd := p.command(args...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	limit := time.AfterFunc(2*rollout, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	var seen strings.Builder
	killed := false
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		seen.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), text) {
			killed = cmd.Process.Signal(syscall.SIGKILL) == nil
			break
		}
	}
	_, _ = io.Copy(io.Discard, pipe) // until the process is gone
	if err := cmd.Wait(); !killed {
		p.t.Fatalf("berth %s never said %q (%v):\n%s", strings.Join(args, " "), text, err, seen.String())
	}
	p.t.Logf("berth %s: killed at %q", strings.Join(args, " "), text)
}
