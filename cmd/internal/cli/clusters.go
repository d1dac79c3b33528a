package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/names"
	"github.com/berth-dev/berth/infra/offline"
	"github.com/berth-dev/berth/infra/progress"
)

// clusters works on the engine's kind clusters.
func (app *App) clusters(ctx context.Context) (*cluster.Manager, error) {
	engine, err := app.docker(ctx)
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the user's cache folder: %w", err)
	}
	kit, err := offline.New(progress.Discard)
	if err != nil {
		return nil, err
	}
	nodeImage, kubernetes, err := kit.NodeImage()
	if err != nil {
		return nil, err
	}
	return cluster.New(engine, filepath.Join(cache, "berth", "clusters"), nodeImage, "berth/node:"+kubernetes), nil
}

// createWithCheckpoint makes the cluster and, when its creation has come to its
// end now and that is wanted, the checkpoint that `cluster reset` goes back to.
// Where none can be taken the cluster is as good without it.
func (app *App) createWithCheckpoint(ctx context.Context, spec cluster.Spec, checkpoint bool) (cluster.Info, error) {
	info, err := app.createCluster(ctx, spec)
	if err != nil || !info.New || !checkpoint {
		return info, err
	}
	if err := app.saveCreated(ctx, info.Name); err != nil {
		if ctx.Err() != nil {
			return info, err
		}
		progress.Say(app.sink(), progress.Warn, "cluster "+info.Name, "`berth cluster reset` will not work, there is no checkpoint of the new cluster: "+err.Error())
	}
	return info, nil
}

// saveCreated takes the checkpoint of a new cluster, if it is not there.
func (app *App) saveCreated(ctx context.Context, name string) error {
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	all, err := manager.Checkpoints(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Name != cluster.CheckpointCreated {
			continue
		}
		if !c.Stale {
			return nil
		}
		if err := manager.DeleteCheckpoint(ctx, name, c.Name, app.sink()); err != nil {
			return err
		}
	}
	_, err = manager.Save(ctx, name, cluster.CheckpointCreated, app.sink())
	return err
}

// createCluster makes the cluster, or brings one that is stopped or half done
// to the same end, its ingress controller included.
func (app *App) createCluster(ctx context.Context, spec cluster.Spec) (cluster.Info, error) {
	engine, err := app.docker(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	manager, err := app.clusters(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	sink := app.sink()
	return manager.Create(ctx, spec, sink, func(ctx context.Context, t cluster.Target) error {
		client, err := kube.New(t.Kubeconfig, t.Context)
		if err != nil {
			return err
		}
		// First: of a new cluster, whose DNS has not started, it takes no time.
		if _, err := names.New(client).Install(ctx); err != nil {
			return err
		}
		controller, err := ingress.Choose(ctx, engine, ingress.Kind(t.Ingress), t.NodeImage)
		if err != nil {
			return err
		}
		loaded, err := app.loadAddon(ctx, engine, t.Name, t.NodeImage, controller.Image)
		if err != nil {
			return err
		}
		if loaded {
			controller.Reason = "its image was in the engine"
		}
		return ingress.Install(ctx, client, controller, t.HTTPPort, sink)
	})
}

// loadAddon loads the image of a part of the cluster into the nodes where the
// engine holds it, from a bundle or a pull, so that no node has to pull it.
func (app *App) loadAddon(ctx context.Context, engine *docker.Client, cluster, nodeImage, ref string) (loaded bool, err error) {
	if ref == "" {
		return false, nil
	}
	onNode, err := addon.ImagesOf(ctx, engine, nodeImage)
	if err != nil || slices.Contains(onNode, ref) {
		return false, err
	}
	if _, held, err := engine.ImageInfo(ctx, ref); err != nil || !held {
		return false, err
	}
	images, err := app.images(ctx)
	if err != nil {
		return false, err
	}
	return true, loadNodes(ctx, engine, images, cluster, image.LoadRequest{Refs: []string{ref}, Sink: app.sink()})
}
