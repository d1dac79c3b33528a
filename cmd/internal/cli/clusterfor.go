package cli

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
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
		return info, problem.New("plan", fmt.Errorf("cluster %q is %s", name, info.State), "berth up makes it as the project asks")
	}
	spec := cluster.Spec{Name: name}
	if !info.Owned { // also what a creation left that was killed early: it begins anew
		if spec, err = specOf(name, app.hints, source.Dir); err != nil {
			return info, err
		}
	}
	if info.State == cluster.Absent {
		progress.Say(app.sink(), progress.Note, "cluster "+name,
			fmt.Sprintf("there is none yet; its nodes will see %s, so bind mounts below it are live", source.Dir))
	}
	return app.createWithCheckpoint(ctx, spec, true)
}

// specOf is the cluster that a project in dir asks for.
func specOf(name string, hints translate.ClusterHints, dir string) (cluster.Spec, error) {
	spec := cluster.Spec{
		Name: name, Workers: hints.Workers, KubernetesVersion: hints.Version, Ingress: hints.Ingress,
		Mounts: []cluster.Mount{{Source: dir, Target: dir}},
	}
	if hints.ControlPlanes != nil {
		spec.ControlPlanes = *hints.ControlPlanes
	}
	for _, text := range hints.Mounts {
		m, err := cluster.ParseMount(text, dir)
		if err != nil {
			return spec, err
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return spec, nil
}
