package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func newRollbackCommand(app *App) *cobra.Command {
	var to int
	var list bool
	var timeout time.Duration
	var format string
	cmd := &cobra.Command{
		Use:               "rollback SERVICE",
		Short:             "Go back to an earlier definition of a service, until the next up",
		Args:              takes(1, 1, "name one service"),
		ValidArgsFunction: app.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "json" && !list {
				return misuse("rollback --format json", errors.New("it is for the list of revisions"), "add --list")
			}
			if to < 0 {
				return misuse(fmt.Sprintf("--to %d", to), nil, "give the number of a revision; --list lists them")
			}
			r, _, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			if list {
				revisions, err := r.Revisions(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				app.settle()
				if format == "json" {
					return json.NewEncoder(app.Out).Encode(revisions)
				}
				return app.printRevisions(revisions)
			}
			return withTimeout(cmd.Context(), timeout, func(ctx context.Context) error {
				task := progress.Start(app.sink(), args[0], "rolling back")
				n, err := r.Rollback(ctx, args[0], to, app.bringImages)
				if err != nil {
					return task.End(err, "")
				}
				task.Update(fmt.Sprintf("waiting for revision %d", n))
				return task.End(r.Wait(ctx, args[0], model.WaitHealthy, progress.Discard), fmt.Sprintf("rolled back to revision %d", n))
			})
		},
	}
	cmd.Flags().IntVar(&to, "to", 0, "`revision` to go back to; default: the one before the current")
	cmd.Flags().BoolVar(&list, "list", false, "list the revisions and do nothing")
	addFormatFlag(cmd, &format)
	addWaitTimeout(cmd.Flags(), &timeout, "give up after this `time`; 0: the service has its own limits")
	return cmd
}

// bringImages sees to it that the nodes have those of images that berth built;
// all others the nodes pull.
func (app *App) bringImages(ctx context.Context, images []string) error {
	built := image.ContentTags(images)
	if len(built) == 0 {
		return nil
	}
	cluster := app.clusterName()
	if !app.owned() {
		var ok bool
		if cluster, ok = strings.CutPrefix(app.global.context, "kind-"); !ok {
			return nil
		}
		client, err := app.kube()
		if err != nil {
			return err
		}
		registry, _, err := app.foreignRegistry(ctx, client)
		if err != nil {
			return err
		}
		built = slices.DeleteFunc(built, registry.Serves)
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	nodes, err := image.NodesOf(ctx, engine, cluster)
	if err != nil || len(nodes) == 0 { // another engine's
		return err
	}
	for _, n := range nodes {
		defer n.Close()
	}
	all, err := app.images(ctx)
	if err != nil {
		return err
	}
	return all.Bring(ctx, built, workersOf(nodes), app.sink())
}

func (app *App) printRevisions(revisions []apply.Revision) error {
	table := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "REVISION\tIMAGE\t")
	for _, r := range revisions {
		current := ""
		if r.Current {
			current = "current"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", r.Number, r.Image, current)
	}
	return table.Flush()
}
