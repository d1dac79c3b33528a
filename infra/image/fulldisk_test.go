package image

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// TestFullDiskOfANode loads an image that is larger than a node's disk: the
// other node gets it, the error names the full one and its cure, nothing is left
// half done, and once there is space the same load succeeds.
func TestFullDiskOfANode(t *testing.T) {
	testneed.Long(t)
	engine, real := kindNodes(t)
	_, images, project := onEngine(t)
	small := smallNode(t, engine, project)
	nodes := []Node{small, real[0]}
	t.Cleanup(func() { _ = images.Forget(context.WithoutCancel(t.Context()), project, nodes[1:]) })
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY base /base\n"})
	write(t, dir, "base", noise(t, 64<<20))
	facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}

	loads, err := images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), `onto node "`+small.Name()+`"`) || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("error is %v", err)
	}
	if hint := problem.Hint(err); !strings.Contains(hint, "docker builder prune") {
		t.Errorf("hint is %q", hint)
	}
	if len(loads) != 2 || loads[0].Outcome != model.LoadFailed || loads[1].Outcome != model.LoadSent {
		t.Errorf("loads are %v", outcomes(loads))
	}
	if list, err := small.Images(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("the full node has %v, %v", list, err)
	}

	if _, err := small.shell.run(t.Context(), "mount -o remount,size=1g /var"); err != nil {
		t.Fatal(err)
	}
	loads, err = images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard)
	if err != nil || loads[0].Outcome != model.LoadSent || loads[1].Outcome != model.LoadPresent {
		t.Errorf("with space: %v %v", outcomes(loads), err)
	}
}

// smallNode is a node with 80 MB of disk that runs containerd and nothing else.
func smallNode(t *testing.T, engine *docker.Client, name string) *KindNode {
	t.Helper()
	cluster, _ := testneed.Cluster(t)
	real, err := engine.Containers(t.Context(), "io.x-k8s.kind.cluster="+cluster)
	if err != nil || len(real) == 0 {
		t.Fatalf("nodes of %s: %v, %v", cluster, real, err)
	}
	id, err := engine.CreateContainer(t.Context(), docker.RunSpec{
		Image: real[0].Image, Name: name, Privileged: true, Entrypoint: []string{"containerd"},
		Tmpfs: map[string]string{"/tmp": "", "/run": "", "/var": "exec,size=80m"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.RemoveContainer(context.WithoutCancel(t.Context()), id); err != nil {
			t.Error(err)
		}
	})
	if err := engine.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	node := NewNode(engine, name)
	t.Cleanup(node.Close)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err = node.Images(t.Context()); err == nil {
			return node
		}
		if time.Now().After(deadline) {
			t.Fatalf("containerd of %s: %v", name, err)
		}
	}
}
