package cli

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate/composefile"
)

// clusterFor makes sure that the cluster of the root flags runs: one that does
// not exist is created with the project's directory mounted on every node, so
// that its bind mounts are live.
func (app *App) clusterFor(ctx context.Context, source composefile.Source, plan bool) (cluster.Info, error) {
	manager, err := app.clusters(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	name := app.clusterName()
	info, err := manager.Status(ctx, name)
	if err != nil || info.State == cluster.Running {
		return info, err
	}
	if plan {
		return info, problem.New("plan", fmt.Errorf("cluster %q is %s", name, info.State), "berth cluster create "+name)
	}
	spec := cluster.Spec{Name: name}
	if info.State == cluster.Absent {
		spec.Mounts = []cluster.Mount{{Source: source.Dir, Target: source.Dir}}
		progress.Say(app.sink(), progress.Note, "cluster "+name,
			fmt.Sprintf("there is none yet; its nodes will see %s, so bind mounts below it are live", source.Dir))
	}
	return app.createCluster(ctx, spec)
}
