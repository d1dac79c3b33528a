package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func newRestartCommand(app *App) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:               "restart [SERVICE...]",
		Short:             "Replace the pods of services; one-shot services run again",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return withTimeout(cmd.Context(), timeout, func(ctx context.Context) error {
				return app.each(ctx, states, "restarting", "restarted", func(ctx context.Context, s model.ServiceState) error {
					if err := r.Restart(ctx, s.Service); err != nil {
						return err
					}
					return r.Wait(ctx, s.Service, model.WaitHealthy, progress.Discard)
				})
			})
		},
	}
	addWaitTimeout(cmd.Flags(), &timeout, "give up after this `time`; 0: each service has its own limits")
	addAlwaysFlag(cmd.Flags(), "no-deps", "leave what depends on the services alone; always so")
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
