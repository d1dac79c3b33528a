package image

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A localShell is the shell of this machine in place of a node's.
type localShell struct {
	io.Reader
	io.WriteCloser
}

func (s localShell) Close() error { return s.WriteCloser.Close() }

func startLocal(t *testing.T) *liveShell {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", loop("mark"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Skip(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	l := newLiveShell(localShell{out, in}, "mark")
	t.Cleanup(func() { l.stop(); _ = cmd.Wait() })
	return l
}

// What a command leaves unread of its input is never taken for a command, and
// the next one has its own.
func TestShellFeedsCommands(t *testing.T) {
	l := startLocal(t)
	long := strings.Repeat("echo no command\n", pieceSize/8) // two pieces
	for _, c := range []struct{ line, in, out, status string }{
		{runLine("echo one"), "", "one\n", ""},
		{feedLine("x=set; ", `echo $x; cksum`), long, "set\n" + checksum(t, long), ""},
		{feedLine("", "head -c 3; false"), long, "ech", "exit status 1\nech"},
		{feedLine("", "cat"), "", "", ""},
		{runLine("cat; echo end"), "", "end\n", ""},
	} {
		var in io.Reader
		if strings.Contains(c.line, "while read") {
			in = strings.NewReader(c.in)
		}
		out, err := l.do(t.Context(), c.line, in)
		status := ""
		if err != nil {
			status = err.Error()
		}
		if out != c.out || status != c.status {
			t.Errorf("%s: %q, %q; want %q, %q", c.line, out, status, c.out, c.status)
		}
	}
}

func checksum(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cksum")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestShellWhoseInputBreaksOffIsGivenUp(t *testing.T) {
	l := startLocal(t)
	reader, writer := io.Pipe()
	broken := errors.New("the engine has no such layer")
	go func() {
		_, _ = io.WriteString(writer, "some")
		writer.CloseWithError(broken)
	}()
	if _, err := l.do(t.Context(), feedLine("", "cat"), reader); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// Commands of a node are carried out one by one: one that waits for its turn
// must heed its own context, not that of the one before it.
func TestACommandThatWaitsForItsTurnCanBeGivenUp(t *testing.T) {
	s := newShell(nil, "node")
	s.turn <- struct{}{} // a command that takes long
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.run(ctx, "true")
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
