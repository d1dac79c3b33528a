package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/names"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

type downOptions struct {
	volumes bool
	rmi     string
	timeout int // seconds
}

func newDownCommand(app *App) *cobra.Command {
	var opts downOptions
	cmd := &cobra.Command{
		Use:               "down [SERVICE...]",
		Short:             "Remove the services, their network names and ports; data and images stay",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.rmi != "" && opts.rmi != "local" {
				return misuse(fmt.Sprintf("--rmi %q", opts.rmi), nil, "use --rmi local: the images that berth built; pulled images may serve other projects")
			}
			if len(args) > 0 {
				return app.downServices(cmd.Context(), args, opts)
			}
			name, _, err := app.names(cmd.Context())
			if err != nil {
				return err
			}
			return app.down(cmd.Context(), name, opts)
		},
	}
	cmd.Flags().BoolVarP(&opts.volumes, "volumes", "v", false, "remove the volumes too, of named services those that no other uses: the data is gone")
	addGrace(cmd.Flags(), &opts.timeout, "kill after so many `seconds`")
	cmd.Flags().StringVar(&opts.rmi, "rmi", "", "remove images too: `local` for those that berth built")
	addAlwaysFlag(cmd.Flags(), "remove-orphans", "remove services that the compose file no longer has; always so")
	return cmd
}

// down removes a project from the cluster, the gateway and, where asked, its
// volumes and images. What is gone already is no error.
func (app *App) down(ctx context.Context, project string, opts downOptions) error {
	if !app.owned() {
		return app.downForeign(ctx, project, opts)
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	info, err := manager.Status(ctx, app.clusterName())
	if err != nil {
		return err
	}
	if err := gateway.New(engine).Remove(ctx, info.Name, project); err != nil {
		return err
	}
	switch info.State {
	case cluster.Absent:
		progress.Say(app.sink(), progress.Note, "cluster "+info.Name, "there is none, so no service runs")
	case cluster.Stopped:
		return problem.New(fmt.Sprintf("remove project %q", project), errors.New("the cluster is stopped"),
			"berth cluster start "+info.Name)
	default:
		client, err := app.kube()
		if err != nil {
			return err
		}
		namespace := translate.Namespace(project)
		if err := deleteProject(ctx, apply.New(client, project, namespace, app.sink()), opts); err != nil {
			return err
		}
		if err := names.New(client).Remove(ctx, namespace); err != nil {
			return err
		}
	}
	if opts.rmi == "local" {
		return app.forgetImages(ctx, project, info.Name)
	}
	return nil
}

// deleteProject stops the services of a project in order and removes its
// objects.
func deleteProject(ctx context.Context, p *apply.Project, opts downOptions) error {
	states, err := p.Observe(ctx)
	if err != nil {
		return err
	}
	if err := p.StopServices(ctx, states, nil, opts.timeout); err != nil {
		return err
	}
	_, err = p.Delete(ctx, opts.volumes)
	return err
}

// forgetImages removes what berth built for a project from engine and nodes.
func (app *App) forgetImages(ctx context.Context, project, clusterName string) error {
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	images, err := image.New(engine, image.Options{Getenv: app.Getenv})
	if err != nil {
		return err
	}
	kindNodes, err := image.NodesOf(ctx, engine, clusterName)
	if err != nil {
		return err
	}
	var nodes []image.Node
	for _, n := range kindNodes {
		defer n.Close()
		nodes = append(nodes, n)
	}
	task := progress.Start(app.sink(), "images "+project, "removing what berth built")
	return task.End(images.Forget(ctx, project, nodes), "")
}
