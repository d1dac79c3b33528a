// Package cli is berth's command line: one file a verb, each of which parses
// its flags and calls the packages that do the work. Nothing here decides what
// a compose project means or what a cluster needs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// An exitError ends the process with the exit status of a command that berth
// ran for the user (exec, run, dev --once); nothing is printed for it.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// Main runs the command line args and returns the process's exit code.
func Main(ctx context.Context, streams Streams, args []string) int {
	app := &App{Streams: streams}
	root := newRootCommand(app)
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	cmd, err := root.ExecuteContextC(ctx)
	app.close()
	return app.exitCode(ctx, cmd, err)
}

// exitCode prints err, once, and says how the process ends.
func (app *App) exitCode(ctx context.Context, cmd *cobra.Command, err error) int {
	var status exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		app.printOthers(err, func(e error) bool { return errors.As(e, &exitError{}) })
		return status.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		app.printOthers(err, func(e error) bool { return errors.Is(e, context.Canceled) })
		fmt.Fprintln(app.Err, "Interrupted: run the same command again to go on.")
		return exitInterrupted
	case !app.started || isMisuse(err):
		err = flagError(err)
		ui.PrintError(app.Err, app.color(), err, usageHint(cmd, err))
		return exitUsage
	default:
		ui.PrintError(app.Err, app.color(), err, problem.Hint(err))
		return exitFailure
	}
}

// printOthers prints the members of a joined error that known does not account
// for: what went wrong while a command that had ended was cleaned up after.
func (app *App) printOthers(err error, known func(error) bool) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			app.printOthers(e, known)
		}
		return
	}
	if !known(err) {
		ui.PrintError(app.Err, app.color(), err, problem.Hint(err))
	}
}

func usageHint(cmd *cobra.Command, err error) string {
	if hint := problem.Hint(err); hint != "" {
		return hint
	}
	return cmd.CommandPath() + " --help"
}

func newRootCommand(app *App) *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Give a compose project a berth on a multi-node Kubernetes cluster on this machine",
		Long: `berth takes a docker-compose project as it is and runs it on a real multi-node
Kubernetes cluster on this machine: it creates the cluster, builds and loads the
images, translates the compose file, and keeps the edit-and-see loop going.`,
		Version:          versionText(),
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true, // root flags before the verb, as in docker compose -f x up
		Args:             refuseUnknownVerb,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.check(cmd); err != nil {
				return err
			}
			if err := cmd.ValidateFlagGroups(); err != nil {
				return problem.New(cmd.CommandPath(), excluding(err), "leave one of them out")
			}
			app.started = true // flags and arguments are in order; what fails now is no usage error
			return nil
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: groupProject, Title: "Run a project:"},
		&cobra.Group{ID: groupImages, Title: "Images:"},
		&cobra.Group{ID: groupConvert, Title: "Convert and inspect a project:"},
		&cobra.Group{ID: groupWorkshop, Title: "Workshops and bundles:"},
		&cobra.Group{ID: groupCluster, Title: "The cluster and this machine:"},
	)
	for group, commands := range verbs(app) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newVersionCommand(app))
	refuseUnknownTopics(root)
	app.addGlobalFlags(root)
	app.addCompletions(root)
	return root
}

// refuseUnknownVerb is the argument check of commands that have verbs: every
// argument they get is a verb that does not exist.
func refuseUnknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	what := fmt.Sprintf("unknown command %q", args[0])
	if cmd.HasParent() {
		what += fmt.Sprintf(" for %q", cmd.CommandPath())
	}
	return problem.New(what, nil, suggestion(args[0], known))
}

// refuseUnknownTopics makes `berth help NAME` and `berth completion NAME` fail for
// a name that means nothing, where cobra prints a help text.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				at := root
				for _, name := range args {
					next := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
					if next < 0 {
						return refuseUnknownVerb(at, []string{name})
					}
					at = at.Commands()[next]
				}
				return nil
			}
		case "completion":
			cmd.Args = refuseUnknownVerb
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// The groups of verbs in the help text.
const (
	groupProject  = "project"
	groupImages   = "images"
	groupConvert  = "convert"
	groupWorkshop = "workshop"
	groupCluster  = "cluster"
)

// verbs lists every verb by group.
func verbs(app *App) map[string][]*cobra.Command {
	return map[string][]*cobra.Command{
		groupProject:  append([]*cobra.Command{newUpCommand(app), newDevCommand(app), newDownCommand(app), newLsCommand(app), newPortCommand(app)}, serviceVerbs(app)...),
		groupImages:   {newBuildCommand(app), newPullCommand(app), newPushCommand(app), newImagesCommand(app), newLoadCommand(app)},
		groupConvert:  {newTranslateCommand(app), newExplainCommand(app), newConfigCommand(app)},
		groupWorkshop: {newWorkshopCommand(app), newBundleCommand(app)},
		groupCluster:  {newClusterCommand(app), newDoctorCommand(app), newOfflineCommand(app)},
	}
}

// suggestion ends an error about an unknown name with the nearest known one.
func suggestion(name string, known []string) string { return translate.Suggest(name, known) }
