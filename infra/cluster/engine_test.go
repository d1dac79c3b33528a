package cluster

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// The tests of this file make clusters of their own, small ones. They need an
// engine and a node image: the offline kit's newest, or the one of the shared
// test cluster.

const (
	envCreate  = "BERTH_TEST_CREATE" // in a child: the cluster to create
	envLockDir = "BERTH_TEST_LOCK_DIR"
	envImage   = "BERTH_TEST_NODE_IMAGE"
)

// TestMain lets the test program stand in for a berth that is killed.
func TestMain(m *testing.M) {
	name := os.Getenv(envCreate)
	if name == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	engine, err := docker.New(ctx)
	if verb, checkpoint, ok := strings.Cut(os.Getenv(envCheckpoint), " "); ok && err == nil {
		m := New(engine, os.Getenv(envLockDir))
		if verb == "save" {
			_, err = m.Save(ctx, name, checkpoint, printing(os.Stdout))
		} else {
			err = m.Restore(ctx, name, checkpoint, printing(os.Stdout))
		}
	} else if err == nil {
		_, err = New(engine, os.Getenv(envLockDir)).Create(ctx, small(name, os.Getenv(envImage)), printing(os.Stdout), nil)
	}
	if err != nil {
		_, _ = io.WriteString(os.Stdout, "error: "+err.Error()+"\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func printing(w io.Writer) progress.Sink {
	return progress.SinkFunc(func(e progress.Event) { _, _ = io.WriteString(w, e.Text+"\n") })
}

// small is a cluster of one node on ports that nobody else uses.
func small(name, image string) Spec {
	return Spec{Name: name, Workers: new(0), NodeImage: image, HTTPPort: 18480, HTTPSPort: 18443}
}

// fixture is a Manager with a kubeconfig of its own, on a real engine.
func fixture(t testing.TB) (m *Manager, image string) {
	t.Helper()
	shared, _ := testneed.Cluster(t)
	if testing.Short() {
		t.Skip("makes clusters: not with -short")
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "kubeconfig"))
	engine, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	m = New(engine, t.TempDir())
	kit, err := engine.Images(t.Context(), "dev.berth.kit=node")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(kit, func(a, b docker.ImageSummary) int { return b.Created.Compare(a.Created) })
	for _, i := range kit {
		if len(i.Tags) > 0 {
			return m, i.Tags[0]
		}
	}
	nodes, err := m.Nodes(t.Context(), shared)
	if err != nil || len(nodes) == 0 {
		t.Fatalf("nodes of %s: %v, %v", shared, nodes, err)
	}
	return m, nodes[0].Image
}

// removed sees to it that a test's cluster does not outlive it.
func removed(t testing.TB, m *Manager, name string) {
	t.Cleanup(func() {
		if err := m.clear(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("clean up cluster %s: %v", name, err)
		}
	})
}

func mustState(t *testing.T, m *Manager, name string, want State) Info {
	t.Helper()
	info, err := m.Status(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if info.State != want {
		t.Fatalf("cluster %s is %s (%s), want %s", name, info.State, info.Reason, want)
	}
	return info
}

func TestAClustersLifeWithItsFaults(t *testing.T) {
	m, image := fixture(t)
	const name = "berth-it-life"
	removed(t, m, name)
	steps := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a creation that is killed", func(t *testing.T) { killedCreation(t, m, name, image) }},
		{"is done again, twice at once", func(t *testing.T) { createTwice(t, m, name, image) }},
		{"other settings are refused", func(t *testing.T) {
			spec := small(name, image)
			spec.Workers = new(3)
			_, err := m.Create(t.Context(), spec, progress.Discard, nil)
			if err == nil || !strings.Contains(err.Error(), "workers: 0, not 3") {
				t.Errorf("error %v", err)
			}
		}},
		{"stop and start", func(t *testing.T) { stopAndStart(t, m, name) }},
		{"a node that was removed", func(t *testing.T) { loseNode(t, m, name, image) }},
		{"delete", func(t *testing.T) {
			if err := m.Delete(t.Context(), name, progress.Discard); err != nil {
				t.Fatal(err)
			}
			mustState(t, m, name, Absent)
			if text, err := os.ReadFile(os.Getenv("KUBECONFIG")); err != nil || strings.Contains(string(text), name) {
				t.Errorf("the kubeconfig still names it: %v\n%s", err, text)
			}
			if err := m.Delete(t.Context(), name, progress.Discard); err != nil {
				t.Errorf("a second time: %v", err)
			}
		}},
	}
	for _, s := range steps {
		if !t.Run(s.name, s.run) {
			return
		}
	}
}

// killedCreation starts a creation in another process and kills it, as
// kill -9 does, while kind is at work.
func killedCreation(t *testing.T, m *Manager, name, image string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), envCreate+"="+name, envLockDir+"="+m.lockDir, envImage+"="+image)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), phaseControlPlane) {
			break
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	nodes, err := m.Nodes(t.Context(), name)
	if err != nil || len(nodes) != 1 {
		t.Fatalf("a killed creation leaves its node: %v, %v; it said %q", nodes, err, said)
	}
	if rec, err := m.readRecord(t.Context(), nodes); rec != nil || err != nil {
		t.Fatalf("and no record: %v, %v", rec, err)
	}
}

func createTwice(t *testing.T, m *Manager, name, image string) {
	var group sync.WaitGroup
	var mu sync.Mutex
	var said []string
	steps := 0
	for range 2 {
		group.Go(func() {
			sink := progress.SinkFunc(func(e progress.Event) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, e.Text)
			})
			info, err := m.Create(t.Context(), small(name, image), sink, func(_ context.Context, target Target) error {
				mu.Lock()
				defer mu.Unlock()
				steps++
				if _, err := os.Stat(target.Kubeconfig); err != nil || target.HTTPPort != 18480 {
					t.Errorf("target %+v: %v", target, err)
				}
				return nil
			})
			if err != nil || info.State != Running || !info.Owned || info.HTTPPort() != 18480 {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
	group.Wait()
	if steps != 2 {
		t.Errorf("the step ran %d times, want once for each", steps)
	}
	all := strings.Join(said, "\n")
	for text, want := range map[string]int{"removing what an interrupted command left": 1, phaseControlPlane: 1} {
		times := 0
		for i, line := range said {
			if strings.Contains(line, text) && (i == 0 || !strings.Contains(said[i-1], text)) {
				times++
			}
		}
		if times < want {
			t.Errorf("%q was said %d times in\n%s", text, times, all)
		}
	}
	if !strings.Contains(all, "waiting for another berth") {
		t.Errorf("nobody waited:\n%s", all)
	}
}

func stopAndStart(t *testing.T, m *Manager, name string) {
	if err := m.Stop(t.Context(), name, progress.Discard); err != nil {
		t.Fatal(err)
	}
	info := mustState(t, m, name, Stopped)
	if info.HTTPPort() != 18480 {
		t.Errorf("the ports of a stopped cluster: %d", info.HTTPPort())
	}
	if hint := problem.Hint(info.Err()); hint != "berth cluster start "+name {
		t.Errorf("hint %q", hint)
	}
	if _, err := m.Start(t.Context(), name, progress.Discard); err != nil {
		t.Fatal(err)
	}
	mustState(t, m, name, Running)
}

func loseNode(t *testing.T, m *Manager, name, image string) {
	nodes, err := m.Nodes(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	// A node that was never there is a node that is gone.
	rec, err := m.readRecord(t.Context(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	rec.Nodes = append(rec.Nodes, name+"-worker")
	if err := m.writeRecord(t.Context(), *rec); err != nil {
		t.Fatal(err)
	}
	info := mustState(t, m, name, Incomplete)
	if !strings.Contains(info.Err().Error(), "node is gone: "+name+"-worker") {
		t.Errorf("error %v", info.Err())
	}
	_, err = m.Create(t.Context(), Spec{Name: name, NodeImage: image}, progress.Discard, nil)
	if err == nil || !strings.Contains(problem.Hint(err), "berth cluster delete "+name) {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
}

func TestAnInterruptedCreationLeavesNothing(t *testing.T) {
	m, image := fixture(t)
	const name = "berth-it-cancel"
	removed(t, m, name)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink := progress.SinkFunc(func(e progress.Event) {
		if strings.Contains(e.Text, phaseControlPlane) {
			cancel() // as the first Ctrl-C does
		}
	})
	_, err := m.Create(ctx, small(name, image), sink, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	mustState(t, m, name, Absent)
	if was, err := readIntentFile(m.lockPath(name)); err != nil || was.Unfinished {
		t.Errorf("the lock file speaks of leftovers: %+v, %v", was, err)
	}
}

func TestAClusterOfSomebodyElseIsLeftAlone(t *testing.T) {
	m, image := fixture(t)
	const name = "berth-it-foreign"
	removed(t, m, name)
	id, err := m.engine.CreateContainer(t.Context(), docker.RunSpec{
		Image: image, Name: name + "-control-plane", Labels: map[string]string{labelCluster: name, labelRole: "control-plane"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Create(t.Context(), small(name, image), progress.Discard, nil)
	if err == nil || !strings.Contains(err.Error(), "berth did not create") {
		t.Errorf("error %v", err)
	}
	nodes, err := m.Nodes(t.Context(), name)
	if err != nil || len(nodes) != 1 || nodes[0].ID != id {
		t.Errorf("nodes %v, %v", nodes, err)
	}
}

func TestATakenPortNamesItsHolder(t *testing.T) {
	shared, _ := testneed.Cluster(t) // before fixture, which has a kubeconfig of its own
	m, image := fixture(t)
	info, err := m.Status(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	spec := small("berth-it-port", image)
	spec.HTTPPort = info.HTTPPort()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = m.Create(ctx, spec, progress.Discard, nil)
	if err == nil || !strings.Contains(err.Error(), `taken by container "`+shared) {
		t.Errorf("error %v", err)
	}
}
