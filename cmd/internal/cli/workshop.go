package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/workshop"
)

// workshopFlags say which of the started workshops and which learner is meant.
type workshopFlags struct {
	name    string
	learner string
}

func newWorkshopCommand(app *App) *cobra.Command {
	var flags workshopFlags
	cmd := &cobra.Command{
		Use:   "workshop",
		Short: "Write, take and give workshops: steps with checks on a cluster of one's own",
		Long: `A workshop is a folder: workshop.yaml and, for every step, a folder with a text
(step.md) and programs that set the step up, check it, solve it and clean up
after it. "start" brings the cluster and the first step; "serve" shows the steps
in the browser; "check" says what is still missing.`,
		Args: refuseUnknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&flags.name, "workshop", "", "`name` of a started workshop (default: the one started last)")
	cmd.PersistentFlags().StringVar(&flags.learner, "learner", "", "`name` of the learner, where there are several")
	cmd.AddCommand(
		newWorkshopNewCommand(app), newWorkshopLintCommand(app), newWorkshopStartCommand(app), newWorkshopStatusCommand(app, &flags),
		newWorkshopCheckCommand(app, &flags), newWorkshopNextCommand(app, &flags), newWorkshopBackCommand(app, &flags),
		newWorkshopSolveCommand(app, &flags), newWorkshopResetCommand(app, &flags), newWorkshopStopCommand(app, &flags),
		newWorkshopEnvCommand(app, &flags), newWorkshopServeCommand(app, &flags), newWorkshopBroadcastCommand(app, &flags),
	)
	return cmd
}

// workshopStore is where started workshops are remembered: the user's state
// folder (XDG base directory specification).
func (app *App) workshopStore() (workshop.Store, error) {
	dir := app.Getenv("XDG_STATE_HOME")
	if dir == "" && runtime.GOOS == "windows" {
		dir = app.Getenv("LOCALAPPDATA")
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return workshop.Store{}, err
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return workshop.NewStore(filepath.Join(dir, "berth", "workshops")), nil
}

// loadRun reads the started workshop that the flags name.
func (app *App) loadRun(flags *workshopFlags) (workshop.Store, workshop.Run, error) {
	store, err := app.workshopStore()
	if err != nil {
		return store, workshop.Run{}, err
	}
	run, err := store.Load(flags.name)
	return store, run, err
}

// workshopSession goes on with the workshop and learner that the flags name.
func (app *App) workshopSession(ctx context.Context, flags *workshopFlags) (*workshop.Session, error) {
	store, run, err := app.loadRun(flags)
	if err != nil {
		return nil, err
	}
	options, err := app.runningWorkshop(ctx, store, run)
	if err != nil {
		return nil, err
	}
	return workshop.NewSession(run, flags.learner, options)
}

// runningWorkshop is workshopOptions unless the cluster is known to be another
// than the one the workshop was started on. One that does not answer is told by
// what needs it.
func (app *App) runningWorkshop(ctx context.Context, store workshop.Store, run workshop.Run) (workshop.Options, error) {
	options, err := app.workshopOptions(ctx, store, run)
	if err != nil {
		return options, err
	}
	asking, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if id, err := workshop.ClusterID(asking, options.Kube); err == nil {
		return options, workshop.SameCluster(run, id)
	}
	return options, ctx.Err()
}

// workshopOptions are the real parts that a session works with.
func (app *App) workshopOptions(ctx context.Context, store workshop.Store, run workshop.Run) (workshop.Options, error) {
	app.global.cluster = run.Cluster
	manager, err := app.clusters(ctx)
	if err != nil {
		return workshop.Options{}, err
	}
	client, err := kube.New("", cluster.Context(run.Cluster))
	if err != nil {
		return workshop.Options{}, err
	}
	return workshop.Options{
		Store: store, Kube: client, Cluster: workshopCluster{manager, run.Cluster, app.sink()}, Env: app.Env, Now: time.Now,
	}, nil
}

// workshopCluster saves and restores a workshop's cluster.
type workshopCluster struct {
	manager *cluster.Manager
	name    string
	sink    progress.Sink
}

// Running is a Problem where the cluster, or its engine, is stopped.
func (c workshopCluster) Running(ctx context.Context) error {
	info, err := c.manager.Status(ctx, c.name)
	if err != nil { // a page is served on while the engine is stopped
		return problem.New(fmt.Sprintf("look for cluster %q", c.name), err, "start Docker; the cluster starts with it")
	}
	return info.ControlErr()
}

// SaveCheckpoint takes a checkpoint, in place of one of that name.
func (c workshopCluster) SaveCheckpoint(ctx context.Context, name string) error {
	all, err := c.manager.Checkpoints(ctx, c.name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(have cluster.Checkpoint) bool { return have.Name == name }) {
		if err := c.manager.DeleteCheckpoint(ctx, c.name, name, c.sink); err != nil {
			return err
		}
	}
	_, err = c.manager.Save(ctx, c.name, name, c.sink)
	return err
}

// DeleteCheckpoints deletes the checkpoints whose names are prefix and a number.
func (c workshopCluster) DeleteCheckpoints(ctx context.Context, prefix string) error {
	all, err := c.manager.Checkpoints(ctx, c.name)
	for _, have := range all {
		number, ours := strings.CutPrefix(have.Name, prefix)
		if _, no := strconv.Atoi(number); ours && no == nil {
			err = errors.Join(err, c.manager.DeleteCheckpoint(ctx, c.name, have.Name, c.sink))
		}
	}
	return err
}

// RestoreCheckpoint brings a checkpoint back.
func (c workshopCluster) RestoreCheckpoint(ctx context.Context, name string) error {
	return c.manager.Restore(ctx, c.name, name, c.sink)
}

// folderArgument lets a verb take a workshop's folder, by default the working
// directory.
func (app *App) folderArgument(cmd *cobra.Command, folder *string) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return problem.New(fmt.Sprintf("one folder at a time, not %q", args), nil, "")
		}
		*folder = app.Dir
		if len(args) == 1 {
			*folder = args[0]
			if !filepath.IsAbs(*folder) {
				*folder = filepath.Join(app.Dir, *folder)
			}
		}
		return nil
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}
