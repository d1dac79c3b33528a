package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/apply"
)

func newLsCommand(app *App) *cobra.Command {
	var format string
	var filters []string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the projects on the cluster",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := projectFilter(filters)
			if err != nil {
				return err
			}
			client, err := app.kube()
			if err != nil {
				return err
			}
			projects, err := apply.List(cmd.Context(), client)
			if err != nil {
				return err
			}
			projects = slices.DeleteFunc(projects, func(p apply.Found) bool { return !wanted(p.Project) })
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
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "only projects that match, as `name=PATTERN`; may be repeated")
	addAlwaysFlagP(cmd.Flags(), "all", "a", "show stopped projects too; always so")
	addFormatFlag(cmd, &format)
	return cmd
}

// projectFilter reads name=PATTERN; a project that one of several patterns
// matches is wanted.
func projectFilter(filters []string) (wanted func(name string) bool, err error) {
	var patterns []*regexp.Regexp
	for _, filter := range filters {
		text, isName := strings.CutPrefix(filter, "name=")
		pattern, err := regexp.Compile(text)
		if !isName || err != nil {
			return nil, misuse(fmt.Sprintf("--filter %q", filter), err, "write --filter name=PATTERN")
		}
		patterns = append(patterns, pattern)
	}
	return func(name string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) })
	}, nil
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
