package gateway

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/testneed"
)

// fakeCluster is three containers that look like the nodes of a kind cluster
// and answer on the "NodePorts" 30080 and 30081: all that a gateway needs.
type fakeCluster struct {
	engine *docker.Client
	name   string
	nodes  []string
}

const fakeImage = "berth.test/nodeserver:latest"

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	testneed.Docker(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	needAgent(t, engine)
	c := &fakeCluster{engine: engine, name: fmt.Sprintf("gwtest%d", os.Getpid())}
	importNodeServer(t, engine)
	t.Cleanup(func() {
		if err := engine.RemoveImage(context.Background(), fakeImage); err != nil {
			t.Error(err)
		}
	})
	c.network(t)
	for _, role := range []string{"control-plane", "worker", "worker2"} {
		name := c.name + "-" + role
		id, err := engine.CreateContainer(t.Context(), docker.RunSpec{
			Image: fakeImage, Name: name, Network: c.name, Entrypoint: []string{"/nodeserver", "30080", "30081"},
			Labels: map[string]string{"io.x-k8s.kind.cluster": c.name, "io.x-k8s.kind.role": strings.TrimRight(role, "2")},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, name)
		t.Cleanup(func() { _ = engine.RemoveContainer(context.Background(), id) })
		if err := engine.StartContainer(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := New(engine).RemoveAll(context.Background(), c.name); err != nil {
			t.Error(err)
		}
	})
	return c
}

// needAgent skips where the agent was not built: `make agent` does.
func needAgent(t *testing.T, engine *docker.Client) {
	t.Helper()
	arch, err := engine.Arch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Binary(arch); err != nil {
		if os.Getenv("BERTH_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs the node agent (make agent): %v", err)
	}
}

func (c *fakeCluster) network(t *testing.T) {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.NetworkCreate(t.Context(), c.name, network.CreateOptions{Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the containers, which are removed first
		if err := errors.Join(api.NetworkRemove(context.Background(), c.name), api.Close()); err != nil {
			t.Error(err)
		}
	})
}

// importNodeServer builds testdata/nodeserver into an image of its own.
func importNodeServer(t *testing.T, engine *docker.Client) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nodeserver")
	arch, err := engine.Arch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./testdata/nodeserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var rootfs bytes.Buffer
	w := tar.NewWriter(&rootfs)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "nodeserver", Mode: 0o755, Size: int64(len(raw))})
	if err == nil {
		_, err = w.Write(raw)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := engine.ImportRootfs(t.Context(), &rootfs, fakeImage, nil); err != nil {
		t.Fatal(err)
	}
}

// restart stops and starts a node; the engine may give it another address.
func (c *fakeCluster) stop(t *testing.T, node string) {
	t.Helper()
	if err := c.engine.StopContainer(t.Context(), node, time.Second); err != nil {
		t.Fatal(err)
	}
}

func (c *fakeCluster) start(t *testing.T, node string) {
	t.Helper()
	if err := c.engine.StartContainer(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}
