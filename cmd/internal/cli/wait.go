package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/model"
)

func newWaitCommand(app *App) *cobra.Command {
	var down bool
	cmd := &cobra.Command{
		Use:               "wait SERVICE...",
		Short:             "Wait until services have ended and exit with the first status that is not 0",
		Args:              takes(1, -1, "name at least one service"),
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			worst := 0
			for _, s := range states {
				code, err := exitOf(r.Wait(cmd.Context(), s.Service, model.WaitCompleted, app.sink()))
				if err != nil {
					return err
				}
				app.settle()
				if _, err := fmt.Fprintf(app.Out, "%s exited with status %d\n", s.Service, code); err != nil {
					return err
				}
				if worst == 0 {
					worst = code
				}
			}
			if down {
				if err := app.down(cmd.Context(), r.name, downOptions{timeout: ownGrace}); err != nil {
					return err
				}
			}
			if worst != 0 {
				return exitError{worst}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&down, "down-project", false, "remove the project once the services have ended")
	return cmd
}

// exitOf is the exit status that a wait for a service's end came to.
func exitOf(err error) (int, error) {
	var failure *apply.Failure
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &failure) && failure.ExitCode != nil:
		return int(*failure.ExitCode), nil
	}
	return 0, err
}
