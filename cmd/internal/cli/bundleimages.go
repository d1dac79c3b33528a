package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// loadPacked loads the images of a bundle into the engine and, where the
// cluster runs, its nodes.
func (app *App) loadPacked(ctx context.Context, engine *docker.Client, images *image.Images, packed []bundle.Packed) error {
	var pods []bundle.Packed
	for _, img := range packed {
		loaded, err := app.loadIntoEngine(ctx, engine, images.Cache(), img)
		if err != nil {
			return err
		}
		if loaded && (img.Use == bundle.UseProject || img.Use == bundle.UseIngress || img.Use == bundle.UseMetrics) {
			pods = append(pods, img)
		}
		if img.Use == bundle.UseNode {
			if err := app.useNodeImage(ctx, engine, img.Ref); err != nil {
				return err
			}
		}
	}
	return app.loadIntoNodes(ctx, engine, images, pods)
}

// What is to be done with an image of a bundle, by what the engine has under its
// name.
type packedAction string

const (
	packedLoad    packedAction = "into the engine"
	packedHeld    packedAction = "the engine has it"
	packedReplace packedAction = "into the engine, in place of another image of that name"
	packedKeep    packedAction = "the engine has the real image, which stays; the bundle's is a stand-in"
)

// packedPlan decides what becomes of an image of a bundle.
func packedPlan(have docker.Image, found bool, img bundle.Packed) (packedAction, error) {
	switch {
	case !found:
		return packedLoad, nil
	case isSame(have, img):
		return packedHeld, nil
	}
	var config ocispec.Image
	if err := json.Unmarshal(img.ConfigRaw, &config); err != nil {
		return "", fmt.Errorf("config of image %q: %w", img.Ref, err)
	}
	if config.Config.Labels[model.LabelStandIn] == "true" && have.Facts.Labels[model.LabelStandIn] != "true" {
		return packedKeep, nil
	}
	return packedReplace, nil
}

// isSame reports whether the engine's image is the bundle's. The engine's ID is
// the digest of the manifest, or of the config, as it keeps images.
func isSame(have docker.Image, img bundle.Packed) bool {
	return have.Facts.ID == img.Digest().String() || have.Facts.ID == img.Manifest.Config.Digest.String()
}

// loadIntoEngine gives the engine an image that it does not have yet. loaded is
// false when the engine keeps an image of its own under that name.
func (app *App) loadIntoEngine(ctx context.Context, engine *docker.Client, store *layout.Store, img bundle.Packed) (loaded bool, err error) {
	have, found, err := engine.InspectImage(ctx, img.Ref)
	if err != nil {
		return false, err
	}
	what, err := packedPlan(have, found, img)
	if err != nil {
		return false, err
	}
	task := progress.Start(app.sink(), "load "+img.Ref, string(packedLoad))
	if what == packedHeld || what == packedKeep {
		task.Done(string(what))
		return what == packedHeld, nil
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(bundle.WriteArchive(ctx, pw, img, store)) }()
	if err := errors.Join(engine.LoadArchive(ctx, pr), pr.Close()); err != nil {
		return false, task.End(problem.New(fmt.Sprintf("load image %q into the engine", img.Ref), err,
			"check the engine's disk, then run the command again: it goes on where it was"), "")
	}
	task.Done(string(what))
	return true, nil
}

// useNodeImage sees to it that clusters are created from the bundle's node image
// from now on, without a network: where another would be taken, it gets the name
// that comes first.
func (app *App) useNodeImage(ctx context.Context, engine *docker.Client, ref string) error {
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	name, held, err := manager.NodeImage(ctx, "")
	if err != nil {
		return err
	}
	taken, found, err := engine.ImageInfo(ctx, name)
	if err != nil {
		return err
	}
	packed, _, err := engine.ImageInfo(ctx, ref)
	if err != nil || held && found && taken.ID == packed.ID {
		return err
	}
	progress.Say(app.sink(), progress.Note, "bundle",
		fmt.Sprintf("new clusters are created from its node image now; `docker image rm %s` ends that", cluster.LoadedImage))
	return engine.TagImage(ctx, ref, cluster.LoadedImage)
}

// loadIntoNodes loads what pods run into the nodes, where the cluster runs.
func (app *App) loadIntoNodes(ctx context.Context, engine *docker.Client, images *image.Images, packed []bundle.Packed) error {
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	info, err := manager.Status(ctx, app.clusterName())
	if err != nil || info.State != cluster.Running || len(packed) == 0 {
		return err
	}
	request := image.LoadRequest{Sink: app.sink()}
	for _, img := range packed {
		request.Archived = append(request.Archived, layout.NamedImage{Image: img.Image, Names: []string{img.Ref}})
	}
	return loadNodes(ctx, engine, images, info.Name, request)
}

// loadNodes loads images into all nodes of a cluster.
func loadNodes(ctx context.Context, engine *docker.Client, images *image.Images, clusterName string, request image.LoadRequest) error {
	found, err := image.NodesOf(ctx, engine, clusterName)
	if err != nil {
		return err
	}
	for _, n := range found {
		defer n.Close()
		request.Nodes = append(request.Nodes, n)
	}
	_, err = images.LoadAll(ctx, request) // its error names every node that failed
	return err
}
