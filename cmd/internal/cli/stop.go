package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func newStopCommand(app *App) *cobra.Command {
	grace := -1
	cmd := &cobra.Command{
		Use:               "stop [SERVICE...]",
		Short:             "End the pods of services; start brings them back",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGrace(grace); err != nil {
				return err
			}
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return app.each(cmd.Context(), states, "stopping", "stopped", func(ctx context.Context, s model.ServiceState) error {
				return stopService(ctx, r.Project, s.Service, grace)
			})
		},
	}
	cmd.Flags().IntVarP(&grace, "timeout", "t", grace, "kill after so many `seconds`; default: the services' stop_grace_period")
	cmd.Flags().Lookup("timeout").DefValue = "0" // the help says what the default is
	return cmd
}

// checkGrace refuses a --timeout that is no time; -1 says that none was given.
func checkGrace(seconds int) error {
	if seconds < -1 {
		return misuse(fmt.Sprintf("--timeout %d", seconds), nil, "give a number of seconds")
	}
	return nil
}

// stopService ends the pods of a service, killing them after grace seconds if
// that is not negative, and returns when they are gone.
func stopService(ctx context.Context, p *apply.Project, service string, grace int) error {
	if err := p.Stop(ctx, service); err != nil {
		return err
	}
	if grace >= 0 {
		if err := p.EndPods(ctx, service, int64(grace)); err != nil {
			return err
		}
	}
	return p.Ended(ctx, service)
}

func newStartCommand(app *App) *cobra.Command {
	return &cobra.Command{
		Use:               "start [SERVICE...]",
		Short:             "Start stopped services again",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return app.each(cmd.Context(), states, "starting", "started", func(ctx context.Context, s model.ServiceState) error {
				if err := r.Start(ctx, s.Service); err != nil {
					return err
				}
				return r.Wait(ctx, s.Service, model.WaitHealthy, progress.Discard)
			})
		},
	}
}
