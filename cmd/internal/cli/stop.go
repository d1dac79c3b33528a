package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func newStopCommand(app *App) *cobra.Command {
	var grace int
	cmd := &cobra.Command{
		Use:               "stop [SERVICE...]",
		Short:             "End the pods of services; start brings them back",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return r.StopServices(cmd.Context(), r.states, args, grace)
		},
	}
	addGrace(cmd.Flags(), &grace, "kill after so many `seconds`")
	return cmd
}

func newStartCommand(app *App) *cobra.Command {
	var within time.Duration
	cmd := &cobra.Command{
		Use:               "start [SERVICE...]",
		Short:             "Start stopped services again, with what they depend on",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return withTimeout(cmd.Context(), within, func(ctx context.Context) error {
				return r.StartServices(ctx, r.states, args)
			})
		},
	}
	addAlwaysFlag(cmd.Flags(), "wait", "wait until the services are ready; always so")
	addWaitTimeout(cmd.Flags(), &within, "give up after this `time`; 0: each service has its own limits")
	return cmd
}
