package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// connect runs a server with handle and returns a client of it.
func connect(t testing.TB, handle Handler) *Client {
	t.Helper()
	near, far := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = Serve(context.Background(), far, far, Hello{Binary: "b", Arch: "amd64"}, handle)
		far.Close()
	})
	c, err := NewClient(t.Context(), near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		serving.Wait() // no handler outlives its connection
	})
	return c
}

func TestCallCarriesArgumentsValueAndDataBothWays(t *testing.T) {
	type args struct{ Name string }
	c := connect(t, func(_ context.Context, r *Request) (any, error) {
		var a args
		if err := r.Args(&a); err != nil {
			return nil, err
		}
		n, err := io.Copy(r, io.TeeReader(r, io.Discard)) // echoes the body
		return fmt.Sprintf("%s %s %d", r.Op, a.Name, n), err
	})
	body := make([]byte, 5<<20) // more than a window
	for i := range body {
		body[i] = byte(rand.IntN(256))
	}
	var out bytes.Buffer
	var value string
	if err := c.Call(t.Context(), "echo", args{"x"}, bytes.NewReader(body), &out, &value); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("echo x %d", len(body)); value != want {
		t.Errorf("value %q, want %q", value, want)
	}
	if sha256.Sum256(out.Bytes()) != sha256.Sum256(body) {
		t.Errorf("%d bytes came back, of %d", out.Len(), len(body))
	}
	if c.Hello.Binary != "b" || c.Hello.Arch != "amd64" {
		t.Errorf("hello %+v", c.Hello)
	}
}

func TestManyCallsAtOnceDoNotMixUp(t *testing.T) {
	c := connect(t, func(_ context.Context, r *Request) (any, error) {
		raw, err := io.ReadAll(r)
		return string(raw), err
	})
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			want, got := strings.Repeat(fmt.Sprint(i), 5000), ""
			if err := c.Call(t.Context(), "x", nil, strings.NewReader(want), nil, &got); err != nil || got != want {
				t.Errorf("call %d: %v, right: %v", i, err, got == want)
			}
		})
	}
	calls.Wait()
}

func TestErrorsKeepTheirKindAndWords(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		is   error
		want string
	}{
		"plain":     {errors.New("no space left"), nil, "no space left"},
		"not found": {fmt.Errorf("image %q: %w", "x", fs.ErrNotExist), fs.ErrNotExist, `image "x"`},
		"exists":    {fs.ErrExist, fs.ErrExist, "exist"},
		"own code":  {fmt.Errorf("write: %w", &Error{Code: CodeReadOnly, Message: "mounted so"}), &Error{Code: CodeReadOnly}, "write: mounted so"},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, func(context.Context, *Request) (any, error) { return nil, tc.err })
			err := c.Call(t.Context(), "x", nil, nil, nil, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, ErrConnection) {
				t.Error("an answer was taken for a broken connection")
			}
		})
	}
}

func TestCancelReachesTheHandlerAndFreesTheConnection(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	c := connect(t, func(ctx context.Context, r *Request) (any, error) {
		if r.Op == "ok" {
			return "ok", nil
		}
		close(started)
		_, err := io.ReadAll(r) // a body that never ends
		ended <- err
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, _ := io.Pipe()
	go func() {
		<-started
		cancel()
		body.Close()
	}()
	if err := c.Call(ctx, "hang", nil, body, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the handler saw an end instead of a cancellation")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler was not told")
	}
	var value string
	if err := c.Call(t.Context(), "ok", nil, nil, nil, &value); err != nil || value != "ok" {
		t.Errorf("the next call: %q, %v", value, err)
	}
}

func TestBodyThatCannotBeReadIsNotTakenForAShortOne(t *testing.T) {
	broken := errors.New("disk on fire")
	seen := make(chan error, 1)
	c := connect(t, func(_ context.Context, r *Request) (any, error) {
		_, err := io.ReadAll(r)
		seen <- err
		return nil, err
	})
	body := io.MultiReader(strings.NewReader("half"), errReader{broken})
	if err := c.Call(t.Context(), "x", nil, body, nil, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := <-seen; err == nil {
		t.Error("the handler saw a complete body")
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestSlowReaderHoldsUpOnlyItself(t *testing.T) {
	release := make(chan struct{})
	c := connect(t, func(_ context.Context, r *Request) (any, error) {
		if r.Op == "flood" {
			_, err := r.Write(make([]byte, 4*Window))
			return nil, err
		}
		return "ok", nil
	})
	var flood sync.WaitGroup
	slow := writerFunc(func(p []byte) (int, error) {
		<-release
		return len(p), nil
	})
	flood.Go(func() {
		if err := c.Call(t.Context(), "flood", nil, nil, slow, nil); err != nil {
			t.Error(err)
		}
	})
	for range 20 {
		if err := c.Call(t.Context(), "ok", nil, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	flood.Wait()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestHandlerThatIgnoresItsBodyEndsTheCall(t *testing.T) {
	c := connect(t, func(context.Context, *Request) (any, error) { return nil, errors.New("no") })
	err := c.Call(t.Context(), "x", nil, bytes.NewReader(make([]byte, 8*Window)), nil, nil)
	if err == nil || err.Error() != "no" {
		t.Errorf("got %v", err)
	}
}

func TestBrokenConnectionFailsCallsAsSuch(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		hello := []byte(fmt.Sprintf(`{"version":%d}`, Version))
		_, _ = far.Write(AppendFrame(nil, Frame{Kind: KindHello, Payload: hello}))
		_, _ = far.Read(make([]byte, 1))
		far.Close()
	}()
	c, err := NewClient(t.Context(), near)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), "x", nil, nil, nil, nil); !errors.Is(err, ErrConnection) {
		t.Errorf("got %v", err)
	}
	<-c.Done()
	if err := c.Call(t.Context(), "x", nil, nil, nil, nil); !errors.Is(err, ErrConnection) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestServerOfAnotherVersionIsRefused(t *testing.T) {
	for name, frame := range map[string]Frame{
		"version":  {Kind: KindHello, Payload: []byte(`{"version":99}`)},
		"no hello": {Kind: KindData, Payload: []byte("x")},
		"no json":  {Kind: KindHello, Payload: []byte("OCI runtime exec failed")},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Write(AppendFrame(nil, frame))
				_, _ = io.Copy(io.Discard, far)
			}()
			_, err := NewClient(t.Context(), near)
			if err == nil {
				t.Fatal("no error")
			}
			var version *VersionError
			if errors.As(err, &version) != (name == "version") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTooManyRequestsAreRefusedNotQueued(t *testing.T) {
	release := make(chan struct{})
	c := connect(t, func(context.Context, *Request) (any, error) {
		<-release
		return nil, nil
	})
	var calls sync.WaitGroup
	refused := make(chan error, MaxStreams+10)
	for range MaxStreams + 10 {
		calls.Go(func() {
			if err := c.Call(t.Context(), "x", nil, nil, nil, nil); err != nil {
				refused <- err
			}
		})
	}
	for range 10 {
		if err := <-refused; !errors.Is(err, &Error{Code: CodeOverloaded}) {
			t.Errorf("got %v", err)
		}
	}
	close(release)
	calls.Wait()
}

// TestServerSurvivesNothingButFailsCleanly feeds a server frames that break the
// rules: it must end with an error and without a handler left.
func TestServerRefusesWhatBreaksTheRules(t *testing.T) {
	request := Frame{Kind: KindRequest, Stream: 1, Payload: []byte(`{"op":"x"}`)}
	for name, frames := range map[string][]Frame{
		"opened twice":    {request, request},
		"hello":           {{Kind: KindHello}},
		"result":          {{Kind: KindResult, Stream: 1}},
		"request no json": {{Kind: KindRequest, Stream: 1, Payload: []byte("{")}},
		"too much data":   append([]Frame{request}, repeat(Frame{Kind: KindData, Stream: 1, Payload: make([]byte, MaxPayload)}, Window/MaxPayload+1)...),
		"data after end":  {request, {Kind: KindEnd, Stream: 1}, {Kind: KindData, Stream: 1, Payload: []byte("x")}},
		"too much credit": {request, {Kind: KindCredit, Stream: 1, Payload: credit(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			var in []byte
			for _, f := range frames {
				in = AppendFrame(in, f)
			}
			err := Serve(t.Context(), bytes.NewReader(in), io.Discard, Hello{}, func(ctx context.Context, _ *Request) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func repeat(f Frame, n int) []Frame {
	all := make([]Frame, n)
	for i := range all {
		all[i] = f
	}
	return all
}

func TestFilesComeThroughTheStream(t *testing.T) {
	files := []File{
		{Kind: FileContent, Target: "/a", Mode: 0o755, Size: 3}, {Kind: FileDir, Target: "/d", Mode: 0o700},
		{Kind: FileContent, Target: "/empty"}, {Kind: FileLink, Target: "/l", Link: "../x"}, {Kind: FileRemoval, Target: "/gone"},
		{Kind: FileContent, Target: "/skipped", Size: 100000}, {Kind: FileContent, Target: "/last", Size: 4},
	}
	contents := map[string]string{"/a": "abc", "/skipped": strings.Repeat("s", 100000), "/last": "last, and more than its size"}
	var stream bytes.Buffer
	for _, f := range files {
		if err := WriteFile(&stream, f, strings.NewReader(contents[f.Target])); err != nil {
			t.Fatal(err)
		}
	}
	r := NewFileReader(&stream)
	for _, want := range files {
		got, err := r.Next()
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if want.Kind == FileContent && want.Target != "/skipped" {
			text, err := io.ReadAll(r)
			if err != nil || string(text) != contents[want.Target][:want.Size] {
				t.Errorf("%s: %q, %v", want.Target, text, err)
			}
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := WriteFile(io.Discard, File{Kind: FileContent, Target: "/x", Size: 10}, strings.NewReader("short")); err == nil {
		t.Error("a file that shrank was sent")
	}
}
