package offline

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

func TestEngineThatWorksIsUsed(t *testing.T) {
	testneed.Docker(t)
	kit, err := New(progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		engine, err := kit.EnsureEngine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if engine.Started || !engine.Default || engine.Version == "" {
			t.Errorf("an engine that runs gave %+v", engine)
		}
	}
}

func TestRealImageIsNeverReplaced(t *testing.T) {
	testneed.Docker(t)
	client, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	kit, err := New(progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	const ref = "busybox:musl" // has a recipe, and nobody else here uses it
	before, found, err := client.ImageInfo(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if found {
		t.Skipf("needs an engine without image %s, which holds %s", ref, before.ID)
	}
	archive, err := tarOf(tarFile{name: "real", mode: 0o644, data: []byte("real")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ImportRootfs(t.Context(), bytes.NewReader(archive), ref, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.RemoveImage(t.Context(), ref); err != nil {
			t.Error(err)
		}
	}()
	real, _, err := client.ImageInfo(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	bases, err := kit.EnsureBases(t.Context(), client, ref)
	if err != nil {
		t.Fatal(err)
	}
	if bases[0].State != BaseReal {
		t.Errorf("states %+v, want real", bases)
	}
	if _, err := kit.EnsureBases(t.Context(), client, ref, "example.com/none:1"); err == nil || !strings.Contains(err.Error(), "example.com/none:1: there is no recipe") {
		t.Errorf("an image without a recipe: %v", err)
	}
	after, _, err := client.ImageInfo(t.Context(), ref)
	if err != nil || after.ID != real.ID {
		t.Errorf("the image became %s (%v), was %s", after.ID, err, real.ID)
	}
}

func TestStandInsRunTheirOwnProgram(t *testing.T) {
	testneed.Docker(t)
	client, err := docker.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	kit, err := New(progress.Discard)
	if err != nil {
		t.Fatal(err)
	}
	forges, err := kit.forges(client)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range forges {
		img, found, err := client.InspectImage(t.Context(), f.standIn())
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			continue // made only where it is asked for
		}
		if line := slices.Concat(img.Facts.Entrypoint, img.Facts.Cmd); len(line) == 0 || line[0] == "sleep" {
			t.Errorf("%s runs %q: what the workshop ran is left in it", f.recipe.Name, line)
		}
	}
}

func TestImagesOfDifferentNamesAreMadeInDifferentWorkshops(t *testing.T) {
	if a, b := workshopName("berth/node:v1"), workshopName("berth/node:v2"); a != b {
		t.Errorf("images of one name are made in %q and %q at a time", a, b)
	}
	if a, b := workshopName("berth/node:v1"), workshopName("berth/node-base:v1"); a == b {
		t.Errorf("two images are made in %q", a)
	}
}
