package image

import (
	"context"
	"errors"
	"fmt"
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
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func (s *localShell) Close() error { return s.WriteCloser.Close() }

func (s *localShell) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// die ends it as a stop of its container does.
func (s *localShell) die(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
}

func openLocal(t *testing.T, command []string) *localShell {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Skip(err)
	}
	out, write := io.Pipe()
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	s := &localShell{out, in, cmd, make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = cmd.Wait()
		_ = write.Close()
	}()
	t.Cleanup(func() { _, _ = s.Close(), out.Close(); <-s.done })
	return s
}

func startLocal(t *testing.T) *liveShell {
	t.Helper()
	return newLiveShell(openLocal(t, []string{"sh", "-c", loop("mark")}), "mark")
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

// A command whose input breaks off must not take what it got for all of it, not
// even when what broke is the stream that the input comes from.
func TestShellWhoseInputBreaksOffIsGivenUp(t *testing.T) {
	for _, broken := range []error{errors.New("the engine has no such layer"), io.ErrUnexpectedEOF, fmt.Errorf("read from the engine: %w", io.EOF)} {
		l := startLocal(t)
		reader, writer := io.Pipe()
		go func() {
			_, _ = io.WriteString(writer, "some")
			writer.CloseWithError(broken)
		}()
		if out, err := l.do(t.Context(), feedLine("", "cat"), reader); !errors.Is(err, broken) {
			t.Errorf("%v: output %q, error %v", broken, out, err)
		}
	}
}

// The shells of a long session outlive neither a stop of their node nor a command
// that was given up: the next command has a new one.
func TestShellThatEndedIsStartedAgain(t *testing.T) {
	var started []*localShell
	s := newShell(nil, "node")
	s.open = func(_ context.Context, command []string) (stream, error) {
		l := openLocal(t, command)
		started = append(started, l)
		return l, nil
	}
	defer s.close()
	for n := range 3 {
		if out, err := s.run(t.Context(), "echo one"); out != "one\n" || err != nil {
			t.Fatalf("%q, %v", out, err)
		}
		if out, err := s.feed(t.Context(), "", "cat", strings.NewReader("two")); out != "two" || err != nil {
			t.Fatalf("%q, %v", out, err)
		}
		if len(started) != n+1 {
			t.Fatalf("%d shells, want %d", len(started), n+1)
		}
		started[n].die(t)
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
