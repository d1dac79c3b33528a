package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/testneed"
)

// TestABundleNeedsNoNetwork packs a project, has the engine forget it, loads the
// bundle with an empty cache, and brings the project up from a network namespace
// that has no route but to the cluster.
func TestABundleNeedsNoNetwork(t *testing.T) {
	testneed.Long(t)
	cluster, _ := testneed.Cluster(t)
	p := &project{t: t, name: "bundled", dir: filepath.Join(t.TempDir(), "bundled"), cluster: cluster, berth: testneed.Berth(t), http: localhostClient()}
	p.write("compose.yaml", "services: {web: {build: ./web, expose: [\"8080\"], x-berth: {host: web.bundled.localhost, port: 8080}}}\n")
	p.write("web/Dockerfile", "ARG BASE=python:3.12-slim\nFROM ${BASE}\nCOPY index.html /srv/\nCMD [\"python3\", \"-m\", \"http.server\", \"8080\", \"-d\", \"/srv\"]\n")
	p.write("web/index.html", "came in a bundle\n")
	t.Cleanup(func() {
		if t.Failed() {
			p.diagnose()
		}
		p.must("down", "--volumes", "--rmi", "local")
	})
	file := filepath.Join(t.TempDir(), "bundled.berth")
	started := time.Now()
	p.must("bundle", "create", "-o", file)
	packed := time.Since(started)
	if out := p.must("bundle", "inspect", file); !strings.Contains(out, "python:3.12-slim") || !strings.Contains(out, "bundled-web") {
		t.Errorf("it holds\n%s", out)
	}
	p.forgetImages("bundled-web")

	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	out := filepath.Join(t.TempDir(), "elsewhere") // which is not what the project is called
	started = time.Now()
	p.must("bundle", "load", file, "-o", out)
	loaded := time.Since(started)
	p.dir = out
	started = time.Now()
	inNoNetwork(t, p.command("up", "--no-build", "--wait-timeout", "90s"), p.apiPort(), ingressPort())
	t.Logf("packed in %s, loaded in %s, up without a network in %s", packed.Round(time.Second), loaded.Round(time.Second), time.Since(started).Round(time.Second))
	p.serves(fmt.Sprintf("http://web.bundled.localhost:%s/", ingressPort()), "came in a bundle", soon)
	if events := p.kubectl("-n", "bundled", "get", "events", "--field-selector", "reason=Pulling", "-o", "name"); strings.TrimSpace(events) != "" {
		t.Errorf("a node pulled: %s", events)
	}
}

// forgetImages removes every name of images from the engine.
func (p *project) forgetImages(name string) {
	p.t.Helper()
	for _, ref := range strings.Fields(p.docker("images", "--format", "{{.Repository}}:{{.Tag}}", name)) {
		p.docker("rmi", "--force", ref)
	}
	if left := p.docker("images", "--quiet", name); strings.TrimSpace(left) != "" {
		p.t.Fatalf("the engine still has %s", left)
	}
}

// apiPort is the port of 127.0.0.1 where the cluster's API answers.
func (p *project) apiPort() string {
	p.t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimSpace(p.docker("port", p.cluster+"-control-plane", "6443/tcp")))
	if err != nil {
		p.t.Fatal(err)
	}
	return port
}

// inNoNetwork runs a command in a network namespace of its own, which has no
// interface but the loopback and no route. Some ports of its 127.0.0.1 lead to
// the same ports of this machine's.
func inNoNetwork(t *testing.T, cmd *exec.Cmd, ports ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	started := make(chan error, 1)
	var listeners []net.Listener
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		started <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("make a network namespace: %w", err)
			}
			if err := errors.Join(loopbackUp(), hasNoRoute(t.Context())); err != nil {
				return err
			}
			for _, port := range ports {
				var config net.ListenConfig
				l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
				if err != nil {
					return err
				}
				listeners = append(listeners, l)
			}
			return cmd.Start()
		}()
	}()
	err := <-started
	for _, l := range listeners {
		defer l.Close()
		go forward(t.Context(), l)
	}
	if errors.Is(err, unix.EPERM) {
		t.Skip("a network namespace needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(verbLimit, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &said)
	}
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// hasNoRoute makes sure that nothing leads out of this thread's namespace.
func hasNoRoute(ctx context.Context) error {
	routes, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return err
	}
	if lines := strings.Count(string(routes), "\n"); lines > 1 {
		return fmt.Errorf("the namespace has routes:\n%s", routes)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrInet4{Port: 443, Addr: [4]byte{192, 0, 2, 1}}); !errors.Is(err, unix.ENETUNREACH) {
		return fmt.Errorf("an address outside: %w, and it should not be reachable", err)
	}
	return ctx.Err()
}

// forward leads every connection of a listener to the same port of this
// machine's 127.0.0.1.
func forward(ctx context.Context, l net.Listener) {
	var dialer net.Dialer
	for {
		in, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer in.Close()
			out, err := dialer.DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				return // the client sees the end
			}
			defer out.Close()
			go func() {
				_, _ = io.Copy(out, in)
				_ = out.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(in, out)
		}()
	}
}
