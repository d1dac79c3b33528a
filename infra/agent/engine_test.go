package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"archive/tar"

	"github.com/berth-dev/berth/infra/agent/wire"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// bareNode is a running container that has nothing but a program that waits.
func bareNode(t *testing.T, engine *docker.Client) (name string, app []byte) {
	t.Helper()
	arch, err := engine.Arch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	app = buildApp(t, arch)
	image := fmt.Sprintf("berth.test/bare:%d", os.Getpid())
	rootfs := tarOf(t, map[string][]byte{"app": app}, []tar.Header{{Typeflag: tar.TypeReg, Name: "app", Mode: 0o755}})
	if err := engine.ImportRootfs(t.Context(), bytes.NewReader(rootfs), image, nil); err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("berth-agent-test-%d", time.Now().UnixNano())
	id, err := engine.CreateContainer(t.Context(), docker.RunSpec{Image: image, Name: name, Network: "none", Entrypoint: []string{"/app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(engine.RemoveContainer(context.Background(), id), engine.RemoveImage(context.Background(), image)); err != nil {
			t.Error(err)
		}
	})
	if err := engine.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return name, app
}

func TestConnectInstallsTheAgent(t *testing.T) {
	engine := testEngine(t)
	name, app := bareNode(t, engine)
	connect := func(state string) *Node {
		t.Helper()
		begin := time.Now()
		n, err := Connect(t.Context(), engine, name)
		if err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		t.Logf("%s: connected in %s", state, time.Since(begin))
		t.Cleanup(func() { n.Close() })
		if err := n.Ping(t.Context()); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		return n
	}
	first := connect("no agent")
	connect("the agent")
	if err := engine.WriteFile(t.Context(), name, Path, 0o755, app); err != nil { // not an agent at all
		t.Fatal(err)
	}
	connect("another program")
	if err := first.Ping(t.Context()); err != nil {
		t.Errorf("the first agent did not outlive the replacement of its file: %v", err)
	}
}

func TestAgentIsBackAfterItsNodeWasRestarted(t *testing.T) {
	engine := testEngine(t)
	name, _ := bareNode(t, engine)
	n, err := Connect(t.Context(), engine, name)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := engine.StopContainer(t.Context(), name, time.Second); err != nil {
		t.Fatal(err)
	}
	var start sync.WaitGroup
	start.Go(func() { // while the first question is asked
		if err := engine.StartContainer(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if err := n.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	start.Wait()
}

func TestNodeThatStaysAwayIsWaitedForOnce(t *testing.T) {
	engine := testEngine(t)
	name, _ := bareNode(t, engine)
	n, err := Connect(t.Context(), engine, name)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := engine.StopContainer(t.Context(), name, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := n.Ping(t.Context()); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), name) {
		t.Errorf("got %v", err)
	}
	begin := time.Now()
	if err := n.Ping(t.Context()); !errors.Is(err, ErrAway) || time.Since(begin) > patience/2 {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	if err := engine.StartContainer(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := n.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNodeThatDoesNotRunIsReportedAtOnce(t *testing.T) {
	engine := testEngine(t)
	name, _ := bareNode(t, engine)
	if err := engine.StopContainer(t.Context(), name, time.Second); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := Connect(t.Context(), engine, name); err == nil || !strings.Contains(err.Error(), name) || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	if _, err := Connect(t.Context(), engine, "no-such-node"); err == nil || !strings.Contains(err.Error(), "no-such-node") {
		t.Errorf("got %v", err)
	}
}

func TestBrokenConnectionIsMadeAnew(t *testing.T) {
	engine := testEngine(t)
	name, _ := bareNode(t, engine)
	n, err := Connect(t.Context(), engine, name)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for range 3 {
		if err := n.session.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// A call that was under way fails as what it is.
	ended := make(chan error, 1)
	go func() {
		ended <- n.once(t.Context(), wire.OpSync, wire.SyncArgs{Container: "none"}, endless{}, nil, nil)
	}()
	session := n.session
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if err := n.Ping(t.Context()); err == nil {
			break
		}
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a call over a broken connection succeeded")
	} else if !errors.Is(err, wire.ErrConnection) && !errors.Is(err, fs.ErrNotExist) { // there is no such container, which may have been said first
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestMissingBinaryIsAProblemWithACure(t *testing.T) {
	_, err := Binary("s390x")
	if err == nil || !strings.Contains(err.Error(), "s390x") || !strings.Contains(problem.Hint(err), "make build") {
		t.Errorf("%v; %s", err, problem.Hint(err))
	}
}
