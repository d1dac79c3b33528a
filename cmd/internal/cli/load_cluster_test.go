package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// A loadBench is an image of two layers and a cluster to load it into.
type loadBench struct {
	engine  *docker.Client
	images  *image.Images
	nodes   []image.Node
	cluster string
	project string
	ref     string // content tag
	cache   string
}

// newLoadBench builds an image with layers of random bytes, size MB in all.
func newLoadBench(t *testing.T, size int) *loadBench {
	t.Helper()
	cluster, _ := testneed.Cluster(t)
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	b := &loadBench{engine: engine, cluster: cluster, project: fmt.Sprintf("loadtest-%d", time.Now().UnixNano()), cache: t.TempDir()}
	t.Setenv("XDG_CACHE_HOME", b.cache)
	if b.images, err = image.New(engine, image.Options{CacheDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	kind, err := image.NodesOf(t.Context(), engine, cluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range kind {
		b.nodes = append(b.nodes, n)
		t.Cleanup(n.Close)
	}
	dir := t.TempDir()
	noise := make([]byte, size<<20-1000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"Dockerfile": []byte("FROM scratch\nCOPY base /base\nCOPY app /app\n"), "base": noise, "app": []byte(b.project)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	facts, err := b.images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + b.project, Project: b.project, Context: dir}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	b.ref = facts.Ref
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := b.images.Forget(ctx, b.project, b.nodes); err != nil {
			t.Error(err)
		}
	})
	return b
}

// load runs `berth load` in this process.
func (b *loadBench) load(t *testing.T, in io.Reader, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errOut safeBuffer
	s := Streams{In: in, Out: &out, Err: &errOut, Env: os.Environ(), Dir: t.TempDir()}
	status = Main(ctx, s, append([]string{"--progress", "plain", "load"}, args...))
	return out.String(), errOut.String(), status
}

// expect runs `berth load` and counts the nodes whose result is as wanted.
func (b *loadBench) expect(t *testing.T, want string, nodes int, in io.Reader, args ...string) {
	t.Helper()
	out, errOut, status := b.load(t, in, args...)
	if status != 0 || strings.Count(out, want) != nodes {
		t.Errorf("load %s: status %d, want %q on %d nodes\n%s%s", strings.Join(args, " "), status, want, nodes, out, errOut)
	}
}

func (b *loadBench) save(t *testing.T, ref string) []byte {
	t.Helper()
	stream, err := b.engine.SaveImages(t.Context(), []string{ref}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	data, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLoadTakesWhatKindLoadTakes(t *testing.T) {
	b := newLoadBench(t, 1)
	all := len(b.nodes)
	archive := b.save(t, b.ref)
	dir := t.TempDir()
	file := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	second := "berth.test/" + b.project + ":second"
	if err := b.engine.TagImage(t.Context(), b.ref, second); err != nil {
		t.Fatal(err)
	}
	none := strings.NewReader("")
	b.expect(t, "2 of 2 layers sent", 1, none, "docker-image", b.ref, "--name", b.cluster, "--nodes", b.nodes[0].Name())
	b.expect(t, "2 of 2 layers sent", all-1, none, b.ref, "--cluster", b.cluster)
	b.expect(t, "present", all, none, "docker-image", "--name", b.cluster, b.ref)
	if _, errOut, _ := b.load(t, none, "docker-image", "-q", "-n", b.cluster, b.ref); errOut != "" {
		t.Errorf("quiet, it says %q", errOut)
	}
	b.expect(t, "present", 2*all, none, "docker-image", b.ref, b.ref, "--name", b.cluster)
	b.expect(t, "retagged", all, none, second, "-n", b.cluster)
	b.expect(t, "present", all, none, "image-archive", file, "--name", b.cluster)
	b.expect(t, "present", all, bytes.NewReader(archive), "-", "--cluster", b.cluster)
	if layout := untar(t, archive); layout != "" {
		b.expect(t, "present", all, none, layout, "--cluster", b.cluster)
	}

	out, errOut, status := b.load(t, none, b.ref, "--cluster", b.cluster, "--format", "json")
	var rows []loadJSON
	if err := json.Unmarshal([]byte(out), &rows); err != nil || status != 0 || len(rows) != all || rows[0].Outcome != model.LoadPresent || rows[0].AllLayers != 2 || rows[0].Seconds <= 0 {
		t.Errorf("status %d, %v: %s%s", status, err, out, errOut)
	}
	for _, bad := range []struct {
		args []string
		want string
	}{
		{[]string{b.ref, "--cluster", b.cluster, "--nodes", "none"}, "runs no node \"none\""},
		{[]string{b.ref, "--cluster", "no-such-cluster"}, "no node of a kind cluster \"no-such-cluster\""},
		{[]string{"berth.test/none:1", "berth.test/none:2", "--cluster", b.cluster}, "2 images are not in the engine"},
		{[]string{"image-archive", filepath.Join(dir, "none.tar"), "--name", b.cluster}, "none.tar"},
		{[]string{"image-archive", os.Args[0], "--name", b.cluster}, "image archive"},
	} {
		if _, errOut, status := b.load(t, none, bad.args...); status != 1 || !strings.Contains(errOut, bad.want) {
			t.Errorf("load %v: status %d, %s", bad.args, status, errOut)
		}
	}
}

// untar unpacks an archive if it is an OCI layout, and names the folder.
func untar(t *testing.T, archive []byte) string {
	t.Helper()
	dir := t.TempDir()
	for tr := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		return ""
	}
	return dir
}

// TestKilledLoadIsDoneByTheSameCommand kills the process while a layer is on
// its way.
func TestKilledLoadIsDoneByTheSameCommand(t *testing.T) {
	binary := testneed.Berth(t)
	b := newLoadBench(t, 48)
	args := []string{"--progress", "json", "load", b.ref, "--cluster", b.cluster}
	victim := exec.CommandContext(t.Context(), binary, args...)
	events, err := victim.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	killed := false
	for decoder := json.NewDecoder(events); !killed; {
		var e struct {
			Current, Total int64
			Text           string
		}
		if err := decoder.Decode(&e); err != nil {
			t.Fatalf("%v after %v", err, seen)
		}
		seen = append(seen, fmt.Sprintf("%s %d/%d", e.Text, e.Current, e.Total))
		if e.Current > 4<<20 && e.Current < e.Total {
			killed = true
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := victim.Wait(); err == nil {
		t.Error("the killed command succeeded")
	}
	for _, want := range []string{"", "present"} {
		out, err := exec.CommandContext(t.Context(), binary, args...).Output()
		if err != nil || strings.Count(string(out), want) < len(b.nodes) {
			t.Errorf("want %q: %v\n%s", want, err, out)
		}
	}
}

// TestNodeThatDiesDuringALoadIsNamedAndLoadedLater stops a worker while a
// layer is on its way to it.
func TestNodeThatDiesDuringALoadIsNamedAndLoadedLater(t *testing.T) {
	testneed.Long(t)
	b := newLoadBench(t, 48)
	if len(b.nodes) < 2 {
		t.Skip("needs a cluster of several nodes")
	}
	victim := b.nodes[len(b.nodes)-1].Name()
	back := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _ = b.engine.StartContainer(back, victim) })
	dead := make(chan error, 1)
	sink := progress.SinkFunc(func(e progress.Event) {
		if e.Current > 4<<20 && e.Current < e.Total {
			select {
			case dead <- b.engine.StopContainer(t.Context(), victim, 0):
			default:
			}
		}
	})
	loads, err := b.images.Load(t.Context(), []string{b.ref}, b.nodes, sink)
	if err == nil || !strings.Contains(err.Error(), victim) {
		t.Errorf("the error does not name the node: %v", err)
	}
	if err := <-dead; err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		if (l.Node == victim) != (l.Outcome == model.LoadFailed) {
			t.Errorf("%s: %s %v", l.Node, l.Outcome, l.Err)
		}
	}
	if err := b.engine.StartContainer(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		if _, err = b.nodes[len(b.nodes)-1].Snapshots(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("node %s does not come back: %v", victim, err)
		case <-tick.C:
		}
	}
	if loads, err = b.images.Load(t.Context(), []string{b.ref}, b.nodes, progress.Discard); err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		if l.Outcome == model.LoadFailed {
			t.Errorf("%s: %v", l.Node, l.Err)
		}
	}
}
