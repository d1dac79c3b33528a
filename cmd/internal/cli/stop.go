package cli

import "github.com/spf13/cobra"

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
	return &cobra.Command{
		Use:               "start [SERVICE...]",
		Short:             "Start stopped services again",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return r.StartServices(cmd.Context(), r.states, args)
		},
	}
}
