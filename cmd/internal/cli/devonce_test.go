//go:build unix

package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"
)

// What a shell has started ends with it, also what heeds no interrupt.
func TestInterruptedCommandLeavesNothingBehind(t *testing.T) {
	interrupts := make(chan os.Signal, 1) // as main has it; a test may run where they are ignored
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	for name, line := range map[string]string{
		"one after the other": "echo ready; sleep 1000; true",
		"in the background":   "sleep 1000 & echo ready; wait; true",
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			app := &App{Streams: Streams{In: strings.NewReader(""), Out: w, Err: w, Env: os.Environ(), Dir: t.TempDir()}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- app.shell(ctx, line) }()
			out := bufio.NewReader(r)
			if said, err := out.ReadString('\n'); err != nil || said != "ready\n" {
				t.Fatal(said, err)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			w.Close()
			if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(out); err != nil { // a process that is left holds the other end
				t.Errorf("something still runs: %v", err)
			}
		})
	}
}

func TestStatusOfTheCommandIsPassedOn(t *testing.T) {
	for line, want := range map[string]int{"exit 7": 7, `exit $(cat)`: 3} {
		app := &App{Streams: Streams{In: strings.NewReader("3"), Out: io.Discard, Err: io.Discard, Env: os.Environ(), Dir: t.TempDir()}}
		var status exitError
		if err := app.shell(t.Context(), line); !errors.As(err, &status) || status.code != want {
			t.Errorf("%s: %v", line, err)
		}
	}
}
