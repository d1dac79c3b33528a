package image

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	apitypes "github.com/moby/buildkit/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// fakeBuildKit counts how often it is asked for its workers.
type fakeBuildKit struct {
	controlapi.UnimplementedControlServer
	asked atomic.Int32
}

func (f *fakeBuildKit) ListWorkers(context.Context, *controlapi.ListWorkersRequest) (*controlapi.ListWorkersResponse, error) {
	f.asked.Add(1)
	return &controlapi.ListWorkersResponse{Record: []*apitypes.WorkerRecord{{ID: "only"}}}, nil
}

// A oneConn is a listener of one connection.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (oneConn) Close() error   { return nil }
func (oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// onBuildKit returns Images of an engine that has nothing but a BuildKit.
func onBuildKit(t *testing.T, f *fakeBuildKit) *Images {
	t.Helper()
	rpc := grpc.NewServer()
	controlapi.RegisterControlServer(rpc, f)
	t.Cleanup(rpc.Stop)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/grpc") {
			w.Header().Set("Api-Version", "1.43")
			_, _ = io.WriteString(w, "{}") // of /info, too: no containerd store
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		l := make(oneConn, 1)
		l <- conn
		close(l)
		_ = rpc.Serve(l) // returns when it has taken the connection
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	images, err := New(engine, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func TestEngineIsAskedOnceWhatItBuildsWith(t *testing.T) {
	f := &fakeBuildKit{}
	images := onBuildKit(t, f)
	ask := func() {
		t.Helper()
		client, worker, err := images.buildkit(t.Context())
		if err != nil || worker.ID != "only" {
			t.Fatalf("worker %+v, error %v", worker, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	ask()
	ask()
	if n := f.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	images.forgetWorker()
	ask()
	if n := f.asked.Load(); n != 2 {
		t.Errorf("asked %d times, with the answer forgotten in between", n)
	}
}

func TestBuildKitThatDoesNotAnswerIsNoFaultOfTheProject(t *testing.T) {
	away := status.Error(codes.Unavailable, "connection refused")
	s := newSteps(progress.Start(progress.Discard, "build web", ""))
	if !unreachable(s, away) || problem.Hint(buildProblem("web", s, away)) != askDoctor {
		t.Errorf("%v, hint %q", buildProblem("web", s, away), problem.Hint(buildProblem("web", s, away)))
	}
	s.failed = "sha256:0"
	if unreachable(s, away) || unreachable(newSteps(nil), errors.New("exit code: 1")) {
		t.Error("a step that fails, or another error, counts as an engine that is away")
	}
}

func TestSeveralPlatformsNeedAnEngineThatCanHoldThem(t *testing.T) {
	images := onBuildKit(t, &fakeBuildKit{})
	spec := model.BuildSpec{Name: "web", Context: t.TempDir(), DockerfileInline: "FROM scratch", Platforms: []string{"linux/amd64", "linux/arm64"}}
	_, err := images.Build(t.Context(), spec, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), "build.platforms: the engine's image store holds") || !strings.Contains(problem.Hint(err), "containerd image store") {
		t.Errorf("error is %v, hint %q", err, problem.Hint(err))
	}
}

func TestAttestationsNeedAnEngineThatCanHoldThem(t *testing.T) {
	images := onBuildKit(t, &fakeBuildKit{})
	for _, spec := range []model.BuildSpec{{Provenance: "true"}, {SBOM: "true"}} {
		spec.Name, spec.Context, spec.DockerfileInline = "web", t.TempDir(), "FROM scratch"
		_, err := images.Build(t.Context(), spec, progress.Discard)
		if err == nil || !strings.Contains(err.Error(), "holds no attestations") || !strings.Contains(problem.Hint(err), "--provenance=false") {
			t.Errorf("error is %v, hint %q", err, problem.Hint(err))
		}
	}
}

func TestAttestationsComeOnTopOfTheImageThatHasTheTag(t *testing.T) {
	spec := model.BuildSpec{Name: "web", Provenance: "mode=max", SBOM: "true", NoCache: true, NoCacheFilter: []string{"base"}, Pull: true, CacheTo: []string{"type=inline"}}
	if p := plain(spec); attested(p) || !p.NoCache || !p.Pull || len(p.CacheTo) == 0 {
		t.Errorf("the image itself is built by %+v", p)
	}
	if p := onTop(spec); !attested(p) || p.NoCache || p.Pull || len(p.NoCacheFilter)+len(p.CacheTo) > 0 {
		t.Errorf("it gets its attestations by %+v", p)
	}
	if attested(model.BuildSpec{Provenance: "false"}) {
		t.Error("provenance: false counts as an attestation")
	}
}

func TestRebuildsOfTheLoopLeaveNoRecord(t *testing.T) {
	spec := model.BuildSpec{Name: "web", Context: t.TempDir(), DockerfileInline: "FROM scratch"}
	for _, unrecorded := range []bool{false, true} {
		spec.Unrecorded = unrecorded
		opt, err := solveOpt(spec, nil)
		if err != nil || opt.Internal != unrecorded {
			t.Errorf("unrecorded %v: internal %v, error %v", unrecorded, opt.Internal, err)
		}
	}
}
