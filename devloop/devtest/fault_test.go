package devtest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/devloop/devtest"
	"github.com/berth-dev/berth/infra/testneed"
)

// healed is how long the cluster may take to run pods again after a fault.
const healed = 3 * time.Minute

// A syncProject has one service, whose files follow ./data and whose log goes on.
const syncProject = `
services:
  app:
    image: busybox
    init: true
    command: sh -c "while sleep 1; do date; done"
    deploy: {replicas: REPLICAS}
    develop: {watch: [{action: sync, path: ./data, target: /data, initial_sync: true}]}
`

// TestFaults breaks what `berth dev` stands on while it runs: it goes on, the
// files in every replica become those on disk, and the logs follow.
func TestFaults(t *testing.T) {
	for _, fault := range []struct {
		name string
		does func(*scenario)
	}{
		{"the API server restarts", (*scenario).restartAPIServer},
		{"a node stops and comes back", (*scenario).stopAndStartNode},
		{"every pod is deleted", func(s *scenario) {
			s.kubectl("delete", "pods", "--all", "-n", s.project(), "--wait=false")
		}},
		{"the watched directory vanishes and comes back", func(s *scenario) {
			s.do(os.RemoveAll(s.path("data")))
			s.until(within, "its files vanish too", func(o outcome) bool { return o.code != 0 }, "app", "stat", "/data/before")
			s.write("data/before", "again")
		}},
	} {
		t.Run(strings.ReplaceAll(fault.name, " ", "_"), func(t *testing.T) {
			testneed.Long(t)
			s := newScenario(t, 2, map[string]string{"data/before": "1", "compose.yaml": syncProject})
			s.watch()
			s.holds("app", "/data/before", "1")
			fault.does(s)
			s.write("data/after", "2")
			holds := func(content string) func(o outcome) bool {
				return func(o outcome) bool { return o.code == 0 && o.stdout == content }
			}
			s.until(healed, "a file written after the fault", holds("2"), "app", "cat", "/data/after")
			s.write("data/after", "3")
			s.until(healed, "a file changed after the fault", holds("3"), "app", "cat", "/data/after")
			s.event(s.dev.Count(), within, "the log after the fault", func(e devtest.Event) bool { return e.Event == "log" })
			for _, o := range s.exec("app", "cat", "/data/before") {
				if o.code != 0 {
					t.Errorf("a file from before the fault: %+v", o)
				}
			}
		})
	}
}

// TestTenThousandEventsInASecond writes files faster than they can be synced: the
// end is what counts.
func TestTenThousandEventsInASecond(t *testing.T) {
	testneed.Long(t)
	s := newScenario(t, 2, map[string]string{"data/0": "first", "compose.yaml": syncProject})
	s.watch()
	s.holds("app", "/data/0", "first")
	for round := range 100 {
		for file := range 100 {
			s.write(fmt.Sprintf("data/%d", file), fmt.Sprint(round))
		}
	}
	s.write("data/last", "written")
	s.until(time.Minute, "the last state of every file", func(o outcome) bool { return o.stdout == "99\n" },
		"app", "sh", "-c", "cat /data/last > /dev/null && for i in $(seq 0 99); do cat /data/$i; echo; done | sort -u")
}

func (s *scenario) project() string {
	return strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "").Replace(s.t.Name()))
}

// node runs a command in the control plane's node.
func (s *scenario) node(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "docker", append([]string{"exec", s.cluster + "-control-plane"}, args...)...).Output()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

func (s *scenario) kubectl(args ...string) string {
	s.t.Helper()
	return s.node(append([]string{"kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)...)
}

func (s *scenario) restartAPIServer() {
	s.t.Helper()
	from := s.dev.Count()
	id := s.node("crictl", "ps", "--name", "kube-apiserver", "-q")
	s.node("crictl", "stop", "--timeout", "1", id)
	s.event(from, within, "the outage", func(e devtest.Event) bool {
		return e.Event == "warn" && strings.Contains(e.Why, "does not answer")
	})
	s.event(from, healed, "its end", func(e devtest.Event) bool { return strings.Contains(e.Why, "answers again") })
}

// stopAndStartNode stops a node that runs a pod until its pod runs elsewhere.
func (s *scenario) stopAndStartNode() {
	s.t.Helper()
	worker := s.cluster + "-worker2"
	s.t.Cleanup(func() { s.must("cluster", "node", "start", worker, "--name", s.cluster) })
	s.must("cluster", "node", "stop", worker, "--name", s.cluster)
	ready := func() error {
		nodes := strings.Fields(s.kubectl("get", "pods", "-n", s.project(), "-o",
			`jsonpath={range .items[?(@.status.phase=="Running")]}{.spec.nodeName}{" "}{end}`))
		elsewhere := 0
		for _, n := range nodes {
			if n != worker {
				elsewhere++
			}
		}
		if elsewhere < s.replicas {
			return fmt.Errorf("pods on %v", nodes)
		}
		return nil
	}
	late := time.Now().Add(healed)
	for tick := time.NewTicker(500 * time.Millisecond); ; <-tick.C {
		err := ready()
		if err == nil {
			break
		}
		if time.Now().After(late) {
			s.t.Fatal(errors.Join(errors.New("the pods did not move"), err))
		}
	}
	s.must("cluster", "node", "start", worker, "--name", s.cluster)
}
