package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
)

func newRestartCommand(app *App) *cobra.Command {
	var within time.Duration
	var grace int
	var noDeps bool
	cmd := &cobra.Command{
		Use:   "restart [SERVICE...]",
		Short: "Replace the pods of services; one-shot services run again",
		Long: `Replace the pods of services, and of those that restart with them
(depends_on.X.restart), in the order of their dependencies. One-shot services
run again.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return withTimeout(cmd.Context(), within, func(ctx context.Context) error {
				return r.RestartServices(ctx, r.states, args, noDeps, grace)
			})
		},
	}
	addGrace(cmd.Flags(), &grace, "end the old pods at once, and kill them after so many `seconds`")
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "leave services alone that restart with them")
	addWaitTimeout(cmd.Flags(), &within, "give up after this `time`; 0: each service has its own limits")
	return cmd
}

// startedServices is running and started in one.
func (app *App) startedServices(ctx context.Context, named []string) (*running, []model.ServiceState, error) {
	r, err := app.running(ctx, named)
	if err != nil {
		return nil, nil, err
	}
	states, err := r.started(named)
	return r, states, err
}
