package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/problem"
)

func newClusterCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Create, list, start, stop and delete kind clusters",
		Args:  refuseUnknownVerb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newClusterCreateCommand(app), newClusterListCommand(app), newClusterDeleteCommand(app),
		newClusterStartCommand(app), newClusterStopCommand(app), newClusterNodeCommand(app),
		newClusterCheckpointCommand(app), newClusterResetCommand(app),
	)
	return cmd
}

// addClusterName lets a verb below `cluster` take the cluster as [NAME] or
// --name; the root flag --cluster means the same.
func (app *App) addClusterName(cmd *cobra.Command) {
	cmd.Flags().StringVar(&app.global.cluster, "name", "", "`name` of the cluster (default \"berth\")")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			return problem.New(fmt.Sprintf("one cluster at a time, not %q", args), nil, "")
		case len(args) == 1 && app.global.cluster != "" && app.global.cluster != args[0]:
			return problem.New(fmt.Sprintf("both %q and %q are named", args[0], app.global.cluster), nil, "name the cluster once")
		case len(args) == 1:
			app.global.cluster = args[0]
		}
		return cluster.CheckName(app.clusterName())
	}
	cmd.ValidArgsFunction = app.completeClusters
}

// completeClusters offers the names of the engine's clusters.
func (app *App) completeClusters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	manager, err := app.clusters(cmd.Context())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	infos, err := manager.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// An ingressValue is the flag --ingress.
type ingressValue string

func (v *ingressValue) String() string { return string(*v) }
func (v *ingressValue) Type() string   { return "controller" }
func (v *ingressValue) Set(s string) error {
	for _, k := range ingress.Kinds {
		if s == k {
			if *v = ingressValue(s); s == string(ingress.Auto) {
				*v = "" // no wish
			}
			return nil
		}
	}
	return problem.New("there is no such controller", nil, "known: "+strings.Join(ingress.Kinds, ", "))
}

func newClusterCreateCommand(app *App) *cobra.Command {
	var spec cluster.Spec
	var workers int
	var mounts []string
	var controller ingressValue
	var checkpoint bool
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create a cluster with an ingress controller, or finish and start one that exists",
		Long: `Create a kind cluster: one control plane and two workers unless told otherwise,
with DNS, storage and an ingress controller on ports 80 and 443 of 127.0.0.1.
It returns when all of that works. Run again it finishes what was interrupted,
and starts a stopped cluster.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec.Name, spec.Ingress = app.clusterName(), string(controller)
			if cmd.Flags().Changed("workers") {
				spec.Workers = &workers
			}
			for _, text := range mounts {
				m, err := cluster.ParseMount(text, app.Dir)
				if err != nil {
					return usageError{err}
				}
				spec.Mounts = append(spec.Mounts, m)
			}
			if err := spec.Check(); err != nil {
				return usageError{err}
			}
			_, err := app.createWithCheckpoint(cmd.Context(), spec, checkpoint)
			return err
		},
	}
	app.addClusterName(cmd)
	flags := cmd.Flags()
	flags.IntVar(&workers, "workers", 2, "`number` of worker nodes")
	flags.IntVar(&spec.ControlPlanes, "control-planes", 0, "`number` of control planes (default 1)")
	flags.StringVar(&spec.KubernetesVersion, "kubernetes-version", "", "Kubernetes `version`, such as v1.36.3 (default: the node image's)")
	flags.StringVar(&spec.NodeImage, "node-image", "", "kind node `image` (default: kind's own, or the offline kit's)")
	flags.StringArrayVar(&mounts, "mount", nil, "show a host directory on every node: `SOURCE[:TARGET][:ro]`; may be repeated")
	flags.IntVar(&spec.HTTPPort, "http-port", 0, "`port` of 127.0.0.1 for HTTP (default 80, or a free one)")
	flags.IntVar(&spec.HTTPSPort, "https-port", 0, "`port` of 127.0.0.1 for HTTPS (default 443, or a free one)")
	flags.BoolVar(&checkpoint, "checkpoint", true, "take a checkpoint of a new cluster, for cluster reset")
	flags.Var(&controller, "ingress", "ingress `controller`: "+strings.Join(ingress.Kinds, ", ")+" (default auto)")
	_ = cmd.RegisterFlagCompletionFunc("ingress", fixed(ingress.Kinds...))
	return cmd
}

func newClusterListCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the kind clusters of the engine",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			infos, err := manager.List(cmd.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(infos)
			}
			return app.printClusters(infos)
		},
	}
	addFormatFlag(cmd, &format)
	return cmd
}

func (app *App) printClusters(infos []cluster.Info) error {
	w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tNODES\tKUBERNETES\tINGRESS\tCONTEXT")
	for _, i := range infos {
		kubernetes, address := i.Kubernetes, ""
		if kubernetes == "" {
			kubernetes = "?"
		}
		if port := i.HTTPPort(); port != 0 {
			address = fmt.Sprintf("127.0.0.1:%d", port)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", i.Name, i.State, len(i.Nodes), kubernetes, address, i.Context)
	}
	return w.Flush()
}

func newClusterDeleteCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete [NAME]",
		Aliases: []string{"rm"},
		Short:   "Delete a cluster, with everything on its nodes and its kubeconfig entry",
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			engine, err := app.docker(cmd.Context())
			if err != nil {
				return err
			}
			if err := gateway.New(engine).RemoveAll(cmd.Context(), app.clusterName()); err != nil {
				return err
			}
			return manager.Delete(cmd.Context(), app.clusterName(), app.sink())
		},
	}
	app.addClusterName(cmd)
	return cmd
}

func newClusterStartCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start [NAME]",
		Short: "Start a stopped cluster and wait until it can be used",
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			info, err := manager.Status(cmd.Context(), app.clusterName())
			if err != nil {
				return err
			}
			switch {
			case info.State == cluster.Absent:
				return info.Err()
			case info.Owned: // its ingress is waited for, too
				_, err = app.createWithCheckpoint(cmd.Context(), cluster.Spec{Name: info.Name}, true)
			default:
				_, err = manager.Start(cmd.Context(), info.Name, app.sink())
			}
			return err
		},
	}
	app.addClusterName(cmd)
	return cmd
}

func newClusterStopCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop [NAME]",
		Short: "Stop the nodes of a cluster; what is on them stays",
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := app.clusters(cmd.Context())
			if err != nil {
				return err
			}
			return manager.Stop(cmd.Context(), app.clusterName(), app.sink())
		},
	}
	app.addClusterName(cmd)
	return cmd
}
