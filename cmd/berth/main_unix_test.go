//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runMain makes the test's own program berth.
const runMain = "BERTH_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// startReading starts a berth that reads its compose file from standard input,
// and returns when it has read more than the pipe holds, and waits for the rest.
func startReading(t *testing.T) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], "-f", "-", "translate")
	cmd.Env = append(os.Environ(), runMain+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	if _, err := io.WriteString(stdin, strings.Repeat("# a comment\n", 1<<20/12)); err != nil {
		t.Fatal(err)
	}
	return cmd, &stderr
}

func TestSignalsEndBerthInOrder(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			if signal.Ignored(s) {
				t.Skip("needs a signal that whoever started the tests does not ignore, as nohup does")
			}
			cmd, stderr := startReading(t)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(stderr.String(), "Interrupted") {
				t.Errorf("exit status %d, %q", code, stderr)
			}
		})
	}
}
