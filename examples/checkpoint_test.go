package examples

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
)

// TestCheckpointsOfTheCommandLine takes a checkpoint, changes the cluster, and
// goes back: to the checkpoint, and to how the cluster was made.
func TestCheckpointsOfTheCommandLine(t *testing.T) {
	testneed.Long(t)
	cluster, _ := testneed.Cluster(t)
	p := &project{t: t, name: "checkpoints", dir: t.TempDir(), cluster: cluster, berth: testneed.Berth(t)}
	has := func(namespace string) bool {
		t.Helper()
		return strings.TrimSpace(p.kubectl("get", "namespaces", "--ignore-not-found", "-o", "name", namespace)) != ""
	}
	p.kubectl("create", "namespace", "checkpoint-before")
	p.must("cluster", "checkpoint", "create", "e2e")
	t.Cleanup(func() {
		if strings.Contains(p.must("cluster", "checkpoint", "list"), "e2e") {
			p.must("cluster", "checkpoint", "delete", "e2e")
		}
	})
	if _, text, err := p.run("cluster", "checkpoint", "create", "e2e"); err == nil || !strings.Contains(text, "delete e2e --cluster "+cluster) {
		t.Errorf("a second of that name: %v, %s", err, text)
	}
	p.kubectl("create", "namespace", "checkpoint-after")
	p.must("cluster", "checkpoint", "restore", "e2e")
	if !has("checkpoint-before") || has("checkpoint-after") {
		t.Error("the restored cluster is not as it was")
	}
	p.must("cluster", "checkpoint", "delete", "e2e")
	for _, verb := range []string{"delete", "restore"} {
		if _, text, err := p.run("cluster", "checkpoint", verb, "e2e"); err == nil || !strings.Contains(text, `no checkpoint "e2e"`) {
			t.Errorf("%s of one that is gone: %v, %s", verb, err, text)
		}
	}
	if list := p.must("cluster", "checkpoint", "list"); strings.Contains(list, "e2e") || !strings.Contains(list, "created") {
		t.Errorf("there are\n%s", list)
	}
	p.must("cluster", "reset")
	if has("checkpoint-before") {
		t.Error("the reset cluster is not as it was made")
	}
}
