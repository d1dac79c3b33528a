package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func newStopCommand(app *App) *cobra.Command {
	var grace int
	cmd := &cobra.Command{
		Use:               "stop [SERVICE...]",
		Short:             "End the pods of services; start brings them back",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return app.each(cmd.Context(), states, "stopping", "stopped", func(ctx context.Context, s model.ServiceState) error {
				return stopService(ctx, r.Project, s.Service, grace)
			})
		},
	}
	addGrace(cmd.Flags(), &grace, "kill after so many `seconds`")
	return cmd
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
