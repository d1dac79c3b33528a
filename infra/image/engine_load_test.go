package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// engines are the engine that runs the nodes and, where BERTH_TEST_GRAPH_HOST
// names one, a second whose images are in a graph driver.
func engines(t *testing.T, run func(t *testing.T, images *Images, engine *docker.Client, project string)) {
	t.Run("own engine", func(t *testing.T) {
		engine, images, project := onEngine(t)
		run(t, images, engine, project)
	})
	host := os.Getenv("BERTH_TEST_GRAPH_HOST")
	if host == "" {
		return
	}
	t.Run("graph driver", func(t *testing.T) {
		t.Setenv("DOCKER_HOST", host)
		engine, images, project := onEngine(t)
		run(t, images, engine, project)
	})
}

// TestEngineImagesReachRealNodes takes an image through build, load, change,
// load again, rename, and removal.
func TestEngineImagesReachRealNodes(t *testing.T) {
	testneed.Cluster(t)
	_, real := kindNodes(t)
	engines(t, func(t *testing.T, images *Images, engine *docker.Client, project string) {
		var nodes []Node
		for _, n := range real {
			nodes = append(nodes, n)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
			defer cancel()
			if err := images.Forget(ctx, project, nodes); err != nil {
				t.Error(err)
			}
			var left []string
			for _, n := range nodes {
				list, err := n.Images(ctx)
				if err != nil {
					t.Error(err)
				}
				for _, img := range list {
					if strings.Contains(img.Name, project) {
						left = append(left, n.Name()+" "+img.Name)
					}
				}
			}
			if len(left) > 0 {
				t.Errorf("left on the nodes are %v", left)
			}
		})
		dir := tree(t, map[string]string{
			"Dockerfile": "FROM scratch\nCOPY base /base\nCOPY app /app\n", "base": strings.Repeat(project, 1<<16), "app": "1",
		})
		spec := model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Context: dir}
		step := func(name, app string, outcome model.LoadOutcome, layers int) {
			t.Helper()
			write(t, dir, "app", app)
			facts, err := images.Build(t.Context(), spec, progress.Discard)
			if err != nil {
				t.Fatal(err)
			}
			loads, err := images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(loads) != len(nodes) {
				t.Fatalf("%s: %d loads", name, len(loads))
			}
			for _, l := range loads {
				if l.Outcome != outcome || l.Layers != layers || l.AllLayers != 2 {
					t.Errorf("%s: node %s: %s, %d of %d layers", name, l.Node, l.Outcome, l.Layers, l.AllLayers)
				}
			}
		}
		step("fresh", "1", model.LoadSent, 2)
		step("nothing missing", "1", model.LoadPresent, 0)
		step("changed", "2", model.LoadSent, 1)
		step("changed again", "3", model.LoadSent, 1)
		step("back", "2", model.LoadPresent, 0)
		loads, err := images.Load(t.Context(), []string{spec.Name}, nodes, progress.Discard)
		if err != nil || loads[0].Outcome != model.LoadRetagged {
			t.Errorf("another name: %v %v", outcomes(loads), err)
		}
	})
}

func TestImageOfAnotherPlatformIsRefused(t *testing.T) {
	_, images, project := onEngine(t)
	_, nodes := fakeNodes("a")
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
	spec := model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir, Platforms: []string{"linux/s390x"}}
	facts, err := images.Build(t.Context(), spec, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard); err == nil || !strings.Contains(err.Error(), "is for linux/s390x, not for linux/") {
		t.Errorf("error is %v", err)
	}
	request := LoadRequest{Refs: []string{facts.Ref}, Nodes: nodes, Platform: "linux/s390x", Sink: progress.Discard}
	if loads, err := images.LoadAll(t.Context(), request); err != nil || loads[0].Outcome != model.LoadSent {
		t.Errorf("asked for: %v %v", outcomes(loads), err)
	}
}

// TestManyLoadsLeaveTheNodesFlat rebuilds, loads and prunes as the dev loop
// does, and counts what containerd keeps.
func TestManyLoadsLeaveTheNodesFlat(t *testing.T) {
	_, real := kindNodes(t)
	engine, images, project := onEngine(t)
	node := real[len(real)-1]
	nodes := []Node{node}
	t.Cleanup(func() { _ = images.Forget(context.WithoutCancel(t.Context()), project, nodes) })
	loads := 12
	if n, err := strconv.Atoi(os.Getenv("BERTH_TEST_LOADS")); err == nil {
		loads = n
	}
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY base /base\nCOPY app /app\n", "base": strings.Repeat(project, 1<<12)})
	spec := model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Context: dir}
	before := map[string]bool{} // another tool may have left records
	list, err := node.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range list {
		before[img.Name] = true
	}
	tops := map[digest.Digest]bool{} // chain IDs of the images' last layers
	for n := range loads {
		write(t, dir, "app", fmt.Sprint(project, n))
		facts, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		built, _, err := engine.InspectImage(t.Context(), facts.Ref)
		if err != nil {
			t.Fatal(err)
		}
		chain := chainIDs(built.DiffIDs)
		tops[chain[len(chain)-1]] = true
		if _, err := images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard); err != nil {
			t.Fatal(err)
		}
		if err := images.Prune(t.Context(), PruneRequest{Project: project, Keep: []string{facts.Ref}, Nodes: nodes}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err = node.Images(t.Context()); err != nil {
		t.Fatal(err)
	}
	snapshots, err := node.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(tops, func(id digest.Digest, _ bool) bool { return !snapshots[id] })
	if left := len(tops); left != keepBuilds {
		t.Errorf("the layers of %d builds take space on the node after %d loads", left, loads)
	}
	targets := map[digest.Digest]int{}
	for _, img := range list {
		if strings.Contains(img.Name, project) {
			targets[img.Target] = 0
		}
	}
	for _, img := range list {
		if _, ours := targets[img.Target]; ours {
			targets[img.Target]++ // a tag and the kubelet's record by ID
		}
		if strings.HasPrefix(img.Name, "import-") && !before[img.Name] {
			t.Errorf("an import record is left: %s", img.Name)
		}
	}
	if len(targets) != keepBuilds {
		t.Errorf("%d images are left on the node after %d loads", len(targets), loads)
	}
	for d, records := range targets {
		if records > 2 {
			t.Errorf("image %s has %d records", d, records)
		}
	}
	engineImages, _, err := images.builtFor(t.Context(), project)
	if err != nil || len(engineImages) > keepBuilds {
		t.Errorf("the engine keeps %d builds (%v)", len(engineImages), err)
	}
}

// TestOneNameLoadedAgainLeavesTheNodeFlat loads a name of the user's again and
// again, as those do who come from kind.
func TestOneNameLoadedAgainLeavesTheNodeFlat(t *testing.T) {
	_, real := kindNodes(t)
	engine, images, project := onEngine(t)
	node := real[len(real)-1]
	name := "berth.test/user-" + project + ":dev"
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY base /base\nCOPY app /app\n", "base": strings.Repeat(project, 1<<12)})
	spec := model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project, Context: dir}
	made := []string{name, spec.Name}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, ref := range made {
			_ = engine.RemoveImage(ctx, ref)
		}
		list, _ := node.Images(ctx)
		_ = node.Remove(ctx, append([]string{name}, orphans(list, []string{name})...))
	})
	tops := map[digest.Digest]bool{}
	for n := range 2 * (keepReplaced + 1) {
		write(t, dir, "app", fmt.Sprint(project, n))
		facts, err := images.Build(t.Context(), spec, progress.Discard)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, facts.ID)
		// Without its content tag it is the user's.
		if err := errors.Join(engine.TagImage(t.Context(), facts.Ref, name), engine.RemoveImage(t.Context(), facts.Ref)); err != nil {
			t.Fatal(err)
		}
		built, _, err := engine.InspectImage(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if nodeLabels(built) != nil {
			t.Fatal("the image passes for a build of the project")
		}
		chain := chainIDs(built.DiffIDs)
		tops[chain[len(chain)-1]] = true
		if _, err := images.Load(t.Context(), []string{name}, []Node{node}, progress.Discard); err != nil {
			t.Fatal(err)
		}
	}
	snapshots, err := node.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(tops, func(id digest.Digest, _ bool) bool { return !snapshots[id] })
	if len(tops) > keepReplaced {
		t.Errorf("the layers of %d images that had the name are left", len(tops))
	}
}

// The user may build FROM an image of berth's: what comes of it has the same
// labels, and is the user's.
func TestImagesMadeFromBerthsAreTheUsers(t *testing.T) {
	engine, images, project := onEngine(t)
	facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project + ":dev", Project: project,
		Context: tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY app /app\n", "app": project})}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	tool := "berth.test/tool-" + project + ":1"
	id, err := engine.CreateContainer(t.Context(), docker.RunSpec{Image: facts.Ref, Entrypoint: []string{"/none"}})
	if err == nil {
		err = errors.Join(engine.Commit(t.Context(), id, tool, []string{"LABEL tool=1"}), engine.RemoveContainer(t.Context(), id))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.RemoveImage(context.WithoutCancel(t.Context()), tool) })
	mine, found, err := engine.InspectImage(t.Context(), tool)
	if err != nil || !found || mine.Facts.Labels[model.LabelProject] != project {
		t.Fatalf("the image does not inherit labels: %+v, %v", mine.Facts.Labels, err)
	}
	if labels := nodeLabels(mine); labels != nil {
		t.Errorf("on nodes it would be marked %v", labels)
	}
	if err := images.Forget(t.Context(), project, nil); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]bool{tool: true, facts.Ref: false, "berth.test/" + project + ":dev": false} {
		if _, found, err := engine.InspectImage(t.Context(), ref); err != nil || found != want {
			t.Errorf("%s is there: %t, want %t, %v", ref, found, want, err)
		}
	}
}

// TestInterruptedLoadIsDoneByTheSameCommand cuts a load in the middle of an
// import, as a kill does.
func TestInterruptedLoadIsDoneByTheSameCommand(t *testing.T) {
	_, real := kindNodes(t)
	_, images, project := onEngine(t)
	var nodes []Node
	for _, n := range real {
		nodes = append(nodes, n)
	}
	t.Cleanup(func() { _ = images.Forget(context.WithoutCancel(t.Context()), project, nodes) })
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY base /base\nCOPY app /app\n", "app": project})
	write(t, dir, "base", noise(t, 24<<20))
	facts, err := images.Build(t.Context(), model.BuildSpec{Name: "berth.test/" + project, Project: project, Context: dir}, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cut := progress.SinkFunc(func(e progress.Event) {
		if e.Current > 8<<20 && e.Current < e.Total {
			cancel()
		}
	})
	if _, err := images.Load(ctx, []string{facts.Ref}, nodes, cut); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	loads, err := images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		if l.Outcome == model.LoadFailed {
			t.Errorf("%+v", l)
		}
	}
	if loads, err = images.Load(t.Context(), []string{facts.Ref}, nodes, progress.Discard); err != nil || loads[0].Outcome != model.LoadPresent {
		t.Errorf("once more: %v %v", outcomes(loads), err)
	}
}

// noise is text that does not compress.
func noise(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
