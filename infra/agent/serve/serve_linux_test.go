package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// connect serves a node.
func connect(t *testing.T) *wire.Client {
	t.Helper()
	near, far := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = New().Run(context.Background(), far, far)
		far.Close()
	})
	c, err := wire.NewClient(t.Context(), near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		serving.Wait()
	})
	return c
}

func TestUnknownOperationsAndArgumentsAreErrors(t *testing.T) {
	c := connect(t)
	if err := c.Call(t.Context(), "make.coffee", nil, nil, nil, nil); !errors.Is(err, &wire.Error{Code: wire.CodeUnknown}) {
		t.Errorf("got %v", err)
	}
	if err := c.Call(t.Context(), wire.OpLogs, "text", nil, nil, nil); err == nil {
		t.Error("arguments of another form were taken")
	}
	for _, id := range []string{"", "../x", "no-such-container"} {
		if err := c.Call(t.Context(), wire.OpSync, wire.SyncArgs{Container: id}, nil, nil, nil); err == nil {
			t.Errorf("container %q was found", id)
		}
	}
}

func TestHelloSaysWhatRuns(t *testing.T) {
	c := connect(t)
	if want, err := ownHash(); err != nil || c.Hello.Binary != want || c.Hello.Arch == "" {
		t.Errorf("%+v, %v", c.Hello, err)
	}
}

// podLog makes a log as the kubelet names it.
func podLog(t *testing.T, text string) (links, file string) {
	t.Helper()
	dir := t.TempDir()
	links, file = filepath.Join(dir, "containers"), filepath.Join(dir, "pods", "web", "0.log")
	if err := errors.Join(os.Mkdir(links, 0o755), os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644),
		os.Symlink(file, filepath.Join(links, "web_ns_web-abc.log"))); err != nil {
		t.Fatal(err)
	}
	return links, file
}

func TestTailOfLog(t *testing.T) {
	long := strings.Repeat("x", 100000)
	for name, tc := range map[string]struct {
		text string
		tail int
		want string
	}{
		"all":              {"a\nb\nc\n", -1, "a\nb\nc\n"},
		"last two":         {"a\nb\nc\n", 2, "b\nc\n"},
		"more than it has": {"a\nb\n", 5, "a\nb\n"},
		"none":             {"a\nb\n", 0, ""},
		"unfinished line":  {"a\nb", 1, "b"},
		"long lines":       {"a\n" + long + "\n" + long + "\n", 2, long + "\n" + long + "\n"},
		"empty":            {"", 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			links, _ := podLog(t, tc.text)
			var out bytes.Buffer
			if err := readLog(t.Context(), links, wire.LogsArgs{Container: "abc", Tail: tc.tail}, nil, &out); err != nil || out.String() != tc.want {
				t.Errorf("%d bytes, %v, want %d", out.Len(), err, len(tc.want))
			}
		})
	}
}

func TestFollowedLogSurvivesRotationAndEndsWithThePod(t *testing.T) {
	links, file := podLog(t, "old\n1\n")
	lines := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- readLog(t.Context(), links, wire.LogsArgs{Container: "abc", Tail: 1, Follow: true}, nil, writerFunc(func(p []byte) (int, error) {
			for line := range strings.Lines(string(p)) {
				lines <- strings.TrimSpace(line)
			}
			return len(p), nil
		}))
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %q within 10 s", want)
		}
	}
	appendTo := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	expect("1")
	appendTo(file, "2\n")
	expect("2")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(file+".1", "3\n")
	expect("3")
	appendTo(file, "4\n")
	expect("4")
	appendTo(file, "5\n")
	expect("5")
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on after the log is gone")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFollowedLogEndsWithItsReader(t *testing.T) {
	links, _ := podLog(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := readLog(ctx, links, wire.LogsArgs{Container: "abc", Follow: true}, nil, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := readLog(t.Context(), links, wire.LogsArgs{Container: "none"}, nil, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLogIsFollowedUntilItsReaderHasEnough(t *testing.T) {
	links, file := podLog(t, "1\n")
	in, enough := io.Pipe()
	var out strings.Builder
	first := make(chan struct{})
	seen := sync.OnceFunc(func() { close(first) })
	ended := make(chan error, 1)
	go func() {
		ended <- readLog(t.Context(), links, wire.LogsArgs{Container: "abc", Tail: -1, Follow: true, UntilEOF: true}, in, writerFunc(func(p []byte) (int, error) {
			defer seen()
			return out.Write(p)
		}))
	}()
	<-first
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := f.WriteString("line\n"); err != nil {
			t.Fatal(i, err)
		}
	}
	f.Close()
	enough.Close()
	select {
	case err := <-ended:
		if err != nil || out.String() != "1\n"+strings.Repeat("line\n", 1000) {
			t.Errorf("%d bytes: %v", out.Len(), err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}
