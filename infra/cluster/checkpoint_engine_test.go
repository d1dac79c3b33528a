package cluster

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// What a child does that is to be killed: "save NAME" or "restore NAME".
const envCheckpoint = "BERTH_TEST_CHECKPOINT"

// checkpointChild stands in for a berth that is killed while it works on a
// checkpoint.
func checkpointChild(t *testing.T, m *Manager, cluster, verb, name, until string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), envCreate+"="+cluster, envLockDir+"="+m.lockDir, envCheckpoint+"="+verb+" "+name)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	heard := false
	for lines := bufio.NewScanner(out); !heard && lines.Scan(); {
		said = append(said, lines.Text())
		heard = strings.Contains(lines.Text(), until)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if !heard {
		t.Fatalf("the child never said %q but %q", until, said)
	}
}

// client connects to a test's cluster.
func client(t *testing.T, m *Manager, cluster string) *kube.Client {
	t.Helper()
	text, err := m.Kubeconfig(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mark makes a namespace, marked reports whether it is there.
func mark(t *testing.T, c *kube.Client, name string) {
	t.Helper()
	u, err := c.Manifest(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

func marked(t *testing.T, c *kube.Client, name string) bool {
	t.Helper()
	_, err := c.GetAny(t.Context(), model.ObjectKey{Kind: "Namespace", Name: name})
	if err != nil && !kube.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

func volumesOf(t *testing.T, engine *docker.Client, cluster string) []string {
	t.Helper()
	volumes, err := engine.Volumes(t.Context(), labelCheckpoint+"="+cluster)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names
}

func TestCheckpointsWithTheirFaults(t *testing.T) {
	m, image := fixture(t)
	const name = "berth-it-checkpoint"
	removed(t, m, name)
	spec := small(name, image)
	spec.HTTPPort, spec.HTTPSPort = 18482, 18445
	if _, err := m.Create(t.Context(), spec, progress.Discard, nil); err != nil {
		t.Fatal(err)
	}
	c := client(t, m, name)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mark(t, c, "before")
	taken, err := m.Save(t.Context(), name, "first", progress.Discard)
	must(err)
	t.Logf("copied %d MB, shared %d files, frozen for %.1f s", taken.Copied>>20, taken.Linked, taken.Frozen)
	if _, err := m.Save(t.Context(), name, "first", progress.Discard); err == nil {
		t.Error("a second checkpoint of the same name is taken")
	}
	mark(t, c, "after")

	// Killed while the nodes are frozen: they go on with the next command, and half a checkpoint is none.
	checkpointChild(t, m, name, "save", "second", "freezing")
	if all, err := m.Checkpoints(t.Context(), name); err != nil || len(all) != 1 {
		t.Fatalf("checkpoints %+v, %v", all, err)
	}
	_, err = m.Start(t.Context(), name, progress.Discard)
	must(err)
	mustState(t, m, name, Running)
	if !marked(t, c, "after") {
		t.Fatal("a killed checkpoint changed the cluster")
	}

	// Killed while the nodes' state is exchanged: the cluster says so, and is finished by the next command.
	checkpointChild(t, m, name, "restore", "first", "stopping the nodes")
	info := mustState(t, m, name, Unfinished)
	if err := info.Err(); !strings.Contains(err.Error(), `the restore of checkpoint "first" was interrupted`) {
		t.Errorf("it says %v", err)
	}
	if _, err := m.Save(t.Context(), name, "third", progress.Discard); err == nil {
		t.Error("a checkpoint is taken of half a cluster")
	}
	if err := m.DeleteCheckpoint(t.Context(), name, "first", progress.Discard); err == nil {
		t.Error("the checkpoint that must be finished can be deleted")
	}
	_, err = m.Start(t.Context(), name, progress.Discard)
	must(err)
	mustState(t, m, name, Running)
	if !marked(t, c, "before") || marked(t, c, "after") {
		t.Error("the cluster is not as it was at the checkpoint")
	}
	if left := volumesOf(t, m.engine, name); len(left) != 2 {
		t.Errorf("volumes %q, want those of one checkpoint", left)
	}

	// Whole, again, timed; a restored cluster can be saved and restored like any other.
	mark(t, c, "after")
	started := time.Now()
	must(m.Restore(t.Context(), name, "first", progress.Discard))
	t.Logf("restored in %s", time.Since(started).Round(100*time.Millisecond))
	if marked(t, c, "after") {
		t.Error("what came after the checkpoint is still there")
	}
	server, err := kube.Get[corev1.Pod](t.Context(), c, "kube-system", "kube-apiserver-"+name+"-control-plane")
	must(err)
	if probe := server.Spec.Containers[0].StartupProbe; probe == nil || probe.PeriodSeconds != 1 || probe.InitialDelaySeconds != 1 {
		t.Errorf("the API server is asked whether it has started by %+v", probe)
	}
	must(m.Delete(t.Context(), name, progress.Discard))
	if left := volumesOf(t, m.engine, name); len(left) != 0 {
		t.Errorf("a deleted cluster leaves checkpoints: %q", left)
	}
}
