package cluster

import (
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestKindsPhasesBecomeProgress(t *testing.T) {
	var texts []string
	task := progress.Start(progress.SinkFunc(func(e progress.Event) { texts = append(texts, e.Text+e.Log) }), "cluster x", "start")
	var done []string
	logger := kindLogger{narrator: &narrator{task: task}, done: func(phase string) { done = append(done, phase) }}

	logger.V(0).Infof("Creating cluster %q ...\n", "x")
	logger.V(0).Infof(" • %s  ...\n", "Ensuring node image (kindest/node:v1.36.3) 🖼️")
	logger.V(0).Infof(" ✓ %s\n", "Ensuring node image (kindest/node:v1.36.3) 🖼️")
	logger.V(0).Infof(" • %s  ...\n", "Starting control-plane 🕹️")
	logger.V(1).Info("detail")
	logger.V(0).Infof(" ✓ %s\n", "Starting control-plane 🕹️")
	logger.Warn("cgroup v1 is deprecated\n")

	want := []string{"start", "ensuring node image (kindest/node:v1.36.3)", "starting control-plane", "cgroup v1 is deprecated"}
	if len(texts) != len(want) {
		t.Fatalf("got %q", texts)
	}
	for i := range want {
		if texts[i] != want[i] {
			t.Errorf("event %d: got %q, want %q", i, texts[i], want[i])
		}
	}
	if len(done) != 2 || done[1] != phaseControlPlane {
		t.Errorf("done: %q", done)
	}
}
