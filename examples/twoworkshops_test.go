package examples

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// secondCluster is a cluster of one test alone.
const secondCluster = "berth-it-workshop"

// TestTwoWorkshopsAtOnce gives two workshops on one cluster and a third on another,
// all remembered in one place: each has a state of its own, and goes alone.
func TestTwoWorkshopsAtOnce(t *testing.T) {
	testneed.Long(t)
	cluster, _ := testneed.Cluster(t)
	w := workshopPlayer{t: t, berth: testneed.Berth(t), state: t.TempDir()}
	privateKubeconfig(t) // a new cluster becomes the current one
	dir := t.TempDir()
	started := []string{}
	start := func(name string, args ...string) {
		t.Helper()
		definition := filepath.Join(dir, name, "workshop.yaml")
		w.must("workshop", "new", filepath.Join(dir, name))
		text, err := os.ReadFile(definition)
		if err == nil {
			err = os.WriteFile(definition, append(text, "cluster: {workers: 0}\n"...), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		started = append(started, name)
		w.must(append([]string{"workshop", "start", filepath.Join(dir, name)}, args...)...)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
		defer cancel()
		for _, name := range started {
			if out, err := w.command(ctx, "workshop", "stop", "--workshop", name).CombinedOutput(); err != nil {
				t.Errorf("workshop stop: %v\n%s", err, out)
			}
		}
		if out, err := w.command(ctx, "cluster", "delete", secondCluster).CombinedOutput(); err != nil {
			t.Errorf("cluster delete: %v\n%s", err, out)
		}
	})
	start("two-first", "--cluster", cluster, "--learners", "2")
	start("two-second", "--cluster", cluster, "--learners", "1")
	w.must("cluster", "create", secondCluster, "--workers", "0", "--http-port", hostPort(18486), "--https-port", hostPort(18487))
	start("two-third", "--cluster", secondCluster)

	// passes reports whether the check of a workshop passes.
	passes := func(workshop, learner string) bool {
		t.Helper()
		_, ok := w.run("workshop", "check", "--workshop", workshop, "--learner", learner)
		return ok
	}
	everybody := [][2]string{{"two-first", "learner-1"}, {"two-first", "learner-2"}, {"two-second", "learner-1"}, {"two-third", "me"}}
	for i, who := range everybody {
		for j, other := range everybody {
			if want := j < i; passes(other[0], other[1]) != want {
				t.Errorf("before %v is solved the check of %v passes: %v", who, other, !want)
			}
		}
		w.must("workshop", "solve", "--workshop", who[0], "--learner", who[1])
	}
	for _, who := range everybody {
		if !passes(who[0], who[1]) {
			t.Errorf("the check of %v does not pass after solve", who)
		}
	}

	// A learner has no rights in the other workshop, although the name is the same.
	l := learner{t: t, env: w.exportsOf("two-first", "learner-1")}
	if out, err := l.kubectl("get", "pods", "--namespace", "two-second-learner-1"); err == nil || !strings.Contains(out, "forbidden") {
		t.Errorf("a learner of the same name of another workshop: %v: %s", err, out)
	}
	// Each workshop is on its cluster and on no other.
	for context, want := range map[string]string{
		"kind-" + cluster:       "two-first-learner-1 two-first-learner-2 two-second-learner-1",
		"kind-" + secondCluster: "two-third",
	} {
		if got := w.namespaces(context); got != want {
			t.Errorf("%s has the namespaces %q, want %q", context, got, want)
		}
	}

	// One reset or ended leaves the others as they are.
	w.must("workshop", "reset", "--workshop", "two-second")
	if passes("two-second", "learner-1") || !passes("two-first", "learner-1") || !passes("two-third", "me") {
		t.Error("a reset of one workshop is none, or of another one, too")
	}
	w.must("workshop", "stop", "--workshop", "two-first")
	started = started[1:]
	if got := w.namespaces("kind-" + cluster); got != "two-second-learner-1" {
		t.Errorf("after the first has ended there are the namespaces %q", got)
	}
	fenced := learner{t: t, env: w.exportsOf("two-second", "learner-1")}
	if out, err := fenced.apply(ingressManifest("learner-1.two-first.localhost")); err == nil || !strings.Contains(out, "every rule of an Ingress needs a host of yours") {
		t.Errorf("the walls of the second workshop went with the first: %v: %s", err, out)
	}
	w.must("workshop", "solve", "--workshop", "two-second")
	var status []struct{ Done int }
	for _, name := range []string{"two-second", "two-third"} {
		if err := json.Unmarshal([]byte(w.must("workshop", "status", "--workshop", name, "--format", "json")), &status); err != nil {
			t.Fatal(err)
		}
		if len(status) != 1 || status[0].Done != 1 {
			t.Errorf("%s: status %+v, want one learner with one step done", name, status)
		}
	}
}

// privateKubeconfig gives the rest of a test a copy of the kubeconfig.
func privateKubeconfig(t *testing.T) {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(home, ".kube", "config")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(private, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", private)
}

// namespaces lists those of this test's workshops on the cluster of a context.
func (w workshopPlayer) namespaces(context string) string {
	w.t.Helper()
	admin := learner{t: w.t, env: []string{"KUBECONFIG=" + os.Getenv("KUBECONFIG")}}
	out, err := admin.kubectl("--context", context, "get", "namespaces", "-l", "dev.berth.workshop", "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	names := slices.DeleteFunc(strings.Fields(out), func(n string) bool { return !strings.HasPrefix(n, "two-") })
	return strings.Join(names, " ")
}
