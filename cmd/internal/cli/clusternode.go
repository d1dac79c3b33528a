package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/progress"
)

func newClusterNodeCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "List, stop and start single nodes, to see what a project does then",
		Args:  refuseUnknownVerb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newNodeListCommand(app),
		newNodePowerCommand(app, "start", "Start a stopped node and wait until it is ready", (*cluster.Manager).StartNode),
		newNodePowerCommand(app, "stop", "Stop a node, as if its machine failed", (*cluster.Manager).StopNode),
	)
	return cmd
}

func (app *App) addNameFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&app.global.cluster, "name", "", "`name` of the cluster (default \"berth\")")
}

type nodeAction = func(m *cluster.Manager, ctx context.Context, name, node string, sink progress.Sink) error

func newNodePowerCommand(app *App, verb, short string, act nodeAction) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " NODE",
		Short: short,
		Long:  short + ".\nNODE is a node's full name, or what follows the cluster's name: worker2.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return misuse("name one node", nil, "berth cluster node list")
			}
			return nil
		},
		ValidArgsFunction: app.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			return act(manager, cmd.Context(), app.clusterName(), args[0], app.sink())
		},
	}
	app.addNameFlag(cmd)
	return cmd
}

func (app *App) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	manager, err := app.clusters(cmd.Context())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	nodes, err := manager.Nodes(cmd.Context(), app.clusterName())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newNodeListCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the nodes of a cluster",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			info, err := manager.Status(cmd.Context(), app.clusterName())
			if err != nil {
				return err
			}
			if info.State == cluster.Absent {
				return info.Err()
			}
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(info.Nodes)
			}
			w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "NAME\tROLE\tSTATE\tADDRESS\tSTATUS")
			for _, n := range info.Nodes {
				address := ""
				if n.IP.IsValid() {
					address = n.IP.String()
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Role, n.State, address, n.Status)
			}
			return w.Flush()
		},
	}
	app.addNameFlag(cmd)
	addFormatFlag(cmd, &format)
	return cmd
}
