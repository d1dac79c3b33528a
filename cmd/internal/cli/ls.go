package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
)

func newLsCommand(app *App) *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the projects on the cluster",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := app.kube()
			if err != nil {
				return err
			}
			projects, err := apply.List(cmd.Context(), client)
			if err != nil {
				return err
			}
			app.settle()
			if format == "json" && !quiet {
				return json.NewEncoder(app.Out).Encode(projects)
			}
			table := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
			if !quiet {
				fmt.Fprintln(table, "NAME\tNAMESPACE\tSTATUS")
			}
			for _, p := range projects {
				if quiet {
					fmt.Fprintln(table, p.Project)
					continue
				}
				fmt.Fprintf(table, "%s\t%s\t%s\n", p.Project, p.Namespace, projectStatus(p))
			}
			return table.Flush()
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names only")
	addFormatFlag(cmd, &format)
	return cmd
}

// projectStatus counts the services that have all the pods they want.
func projectStatus(p apply.Found) string {
	well := 0
	for _, s := range p.Services {
		if s.Complete || s.Ready >= s.Desired {
			well++
		}
	}
	return fmt.Sprintf("%d of %d services running", well, len(p.Services))
}
