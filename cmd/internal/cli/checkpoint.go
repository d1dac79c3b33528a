package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newClusterCheckpointCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Save the whole state of a cluster, and bring it back",
		Long: `A checkpoint is the state of all nodes of a cluster that berth created: etcd,
images and volumes. Taking one freezes the nodes for the seconds that copying
takes; image layers are shared, not copied. It can be brought back to the cluster
it was taken from, as often as you like, and is deleted with it. Host directories
that the nodes mount are no part of it.`,
		Args: refuseUnknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newCheckpointVerb(app, "create", "Take a checkpoint", func(ctx context.Context, m *cluster.Manager, name string) error {
			_, err := m.Save(ctx, app.clusterName(), name, app.sink())
			return err
		}),
		newCheckpointVerb(app, "restore", "Bring a checkpoint back; what is on the nodes now is lost", app.restoreCheckpoint),
		newCheckpointVerb(app, "delete", "Delete a checkpoint", func(ctx context.Context, m *cluster.Manager, name string) error {
			return m.DeleteCheckpoint(ctx, app.clusterName(), name, app.sink())
		}),
		newCheckpointListCommand(app),
	)
	return cmd
}

// newCheckpointVerb is a verb that does something with one checkpoint.
func newCheckpointVerb(app *App, verb, short string, act func(context.Context, *cluster.Manager, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return problem.New("name one checkpoint", nil, "berth cluster checkpoint list")
			}
			return cluster.CheckCheckpointName(args[0])
		},
		ValidArgsFunction: app.completeCheckpoints,
		RunE: func(cmd *cobra.Command, args []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			return act(cmd.Context(), manager, args[0])
		},
	}
	app.addNameFlag(cmd)
	return cmd
}

func (app *App) restoreCheckpoint(ctx context.Context, m *cluster.Manager, name string) error {
	if err := m.Restore(ctx, app.clusterName(), name, app.sink()); err != nil {
		return err
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	published, err := gateway.New(engine).List(ctx, app.clusterName())
	if err != nil {
		return err
	}
	for _, g := range published { // containers of the engine: no part of the checkpoint
		progress.Say(app.sink(), progress.Note, "project "+g.Project, "its ports are published as before the restore; `berth up` or `berth down` brings them in line")
	}
	return nil
}

func (app *App) completeCheckpoints(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	manager, err := app.clusters(cmd.Context())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := manager.Checkpoints(cmd.Context(), app.clusterName())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newCheckpointListCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the checkpoints of a cluster",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			all, err := manager.Checkpoints(cmd.Context(), app.clusterName())
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(all)
			}
			w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "NAME\tTAKEN\tKUBERNETES\tCOPIED\tSHARED FILES\tSTATE")
			for _, c := range all {
				state := "usable"
				if c.Stale {
					state = "of an earlier cluster"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", c.Name, c.Created.Local().Format(time.DateTime), c.Kubernetes, sizeText(c.Copied), c.Linked, state)
			}
			return w.Flush()
		},
	}
	app.addNameFlag(cmd)
	addFormatFlag(cmd, &format)
	return cmd
}

func newClusterResetCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset [NAME]",
		Short: "Bring a cluster back to how it was after its creation",
		Long: `Restore the checkpoint "created", which is taken of every new cluster unless
"cluster create --checkpoint=false" made it. Everything that was done on the
cluster since is lost.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			name := app.clusterName()
			all, err := manager.Checkpoints(cmd.Context(), name)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(c cluster.Checkpoint) bool { return c.Name == cluster.CheckpointCreated }) {
				return problem.New(fmt.Sprintf("reset cluster %q", name), errors.New("no checkpoint was taken after its creation"),
					fmt.Sprintf("make it anew: berth cluster delete %s && berth cluster create %s; or restore one of `berth cluster checkpoint list --cluster %s`", name, name, name))
			}
			return app.restoreCheckpoint(cmd.Context(), manager, cluster.CheckpointCreated)
		},
	}
	app.addClusterName(cmd)
	return cmd
}
