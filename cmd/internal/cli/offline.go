package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/offline"
	"github.com/berth-dev/berth/infra/progress"
)

func newOfflineCommand(app *App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offline",
		Short: "Make an engine, a node image and base images without a container registry",
		Long: `For machines that reach a Go module proxy and a Debian mirror but no container
registry. The node image and stand-ins for base images are made from Debian
packages and Go modules; every step is cached.`,
		Args: refuseUnknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newOfflineEngineCommand(app), newOfflineBuildCommand(app), newOfflineStatusCommand(app))
	return cmd
}

func newOfflineEngineCommand(app *App) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Find a Docker Engine that works, or install and start one",
		Long: `Find a Docker Engine that can run privileged containers. Where there is none, one
is installed and started on Debian and Ubuntu, as root. It prints the engine's
address; with --output it writes DOCKER_HOST=... to a file when the engine is not
at the default address.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kit, err := offline.New(app.sink())
			if err != nil {
				return err
			}
			engine, err := kit.EnsureEngine(cmd.Context())
			if err != nil {
				return err
			}
			app.settle()
			if output != "" {
				return writeEngineFile(output, engine)
			}
			fmt.Fprintln(app.Out, engine.Host)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write DOCKER_HOST to this `file`, for make to include")
	return cmd
}

// writeEngineFile tells make which engine to use; none is named when it is the
// default one.
func writeEngineFile(path string, engine offline.Engine) error {
	if engine.Default {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte("DOCKER_HOST="+engine.Host+"\n"), 0o644)
}

func newOfflineBuildCommand(app *App) *cobra.Command {
	var ifNeeded bool
	var format string
	cmd := &cobra.Command{
		Use:   "build [IMAGE...]",
		Short: "Build the node image and stand-ins for base images",
		Long: `Build the node image, with everything a cluster needs in it, and stand-ins for the
base images named (by default those that Dockerfiles name most). A real image
is never replaced. What is there and fits is left alone; an interrupted build
goes on where it stopped.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			bases := args
			if len(bases) == 0 {
				bases = offline.DefaultBases()
			}
			if err := offline.CheckBases(bases...); err != nil {
				return err
			}
			kit, err := offline.New(app.sink())
			if err != nil {
				return err
			}
			engine, err := app.docker(ctx)
			if err != nil {
				return err
			}
			if ifNeeded {
				needed, reason, err := kit.Needed(ctx, engine)
				if err != nil {
					return err
				}
				progress.Say(app.sink(), progress.Note, "offline kit", reason)
				if !needed {
					app.settle()
					return app.printKit(offline.Result{Bases: []offline.Base{}, Skipped: reason}, format)
				}
			}
			result, err := kit.Build(ctx, engine, bases)
			if err != nil {
				return err
			}
			app.settle()
			return app.printKit(result, format)
		},
	}
	cmd.Flags().BoolVar(&ifNeeded, "if-needed", false, "build nothing where a registry is reached")
	addFormatFlag(cmd, &format)
	return cmd
}

func (app *App) printKit(r offline.Result, format string) error {
	if format == "json" {
		return json.NewEncoder(app.Out).Encode(r)
	}
	if r.Skipped != "" { // the progress has said so
		return nil
	}
	w := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tKubernetes %s\n", r.NodeImage, r.Kubernetes)
	for _, b := range r.Bases {
		what := b.Holds
		if b.State == offline.BaseReal {
			what = "the real image"
		}
		fmt.Fprintf(w, "%s\t%s\n", b.Ref, what)
	}
	return w.Flush()
}

func newOfflineStatusCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the offline kit holds and what is stale",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kit, err := offline.New(app.sink())
			if err != nil {
				return err
			}
			engine, err := docker.New(cmd.Context())
			if err != nil {
				progress.Say(app.sink(), progress.Warn, "offline kit", "without images: "+err.Error())
			} else {
				defer engine.Close()
			}
			items, err := kit.Status(cmd.Context(), engine)
			if err != nil {
				return err
			}
			app.settle()
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(items)
			}
			return app.printItems(items)
		},
	}
	addFormatFlag(cmd, &format)
	return cmd
}

func (app *App) printItems(items []offline.Item) error {
	w := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tSTATE\tSIZE\tHOLDS")
	for _, i := range items {
		size := "-"
		if i.Size > 0 {
			size = ui.FormatBytes(i.Size)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", i.Kind, i.Name, i.State, size, i.Holds)
	}
	return w.Flush()
}
