package cli

import "github.com/spf13/cobra"

// serviceVerbs are the verbs that work on services in the cluster.
func serviceVerbs(app *App) []*cobra.Command {
	return []*cobra.Command{
		newPsCommand(app), newLogsCommand(app), newExecCommand(app), newEventsCommand(app), newPortForwardCommand(app),
		newScaleCommand(app), newRestartCommand(app), newStopCommand(app), newStartCommand(app), newKillCommand(app),
		newWaitCommand(app), newRollbackCommand(app), newRunCommand(app), newTopCommand(app), newCpCommand(app),
	}
}
