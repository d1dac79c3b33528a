package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// noFiles says that file names complete nothing here.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// completeServices completes the names of the project's services that are not
// on the command line yet.
func (app *App) completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	input, err := app.readNames(cmd.Context())
	if err != nil {
		return nil, noFiles
	}
	var names []string
	for _, name := range slices.Sorted(slices.Values(append(input.Project.ServiceNames(), input.LeftOut...))) {
		if !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	return names, noFiles
}

// completeService completes the one service that comes first.
func (app *App) completeService(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return app.completeServices(cmd, args, toComplete)
}

// completeServiceThen completes the service that comes first, and files after
// it: what follows is a command.
func (app *App) completeServiceThen(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return app.completeServices(cmd, args, toComplete)
}

// completeScales completes SERVICE=N up to the number.
func (app *App) completeScales(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	return app.completeWith("=", cmd, args, toComplete)
}

// completePaths completes SERVICE:PATH up to the path, beside files.
func (app *App) completePaths(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, _ := app.completeWith(":", cmd, nil, toComplete)
	if len(args) > 1 || len(names) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return names, cobra.ShellCompDirectiveNoSpace
}

// completeWith completes the names of services with something after them.
func (app *App) completeWith(mark string, cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	services, _ := app.completeServices(cmd, nil, "")
	var names []string
	for _, name := range services {
		written := slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, name+mark) })
		if !written && strings.HasPrefix(name+mark, toComplete) {
			names = append(names, name+mark)
		}
	}
	return names, cobra.ShellCompDirectiveNoSpace | noFiles
}

// completeProfiles completes the profiles that services of the project have.
func (app *App) completeProfiles(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	input, err := app.readNames(cmd.Context())
	if err != nil {
		return nil, noFiles
	}
	var profiles []string
	for _, s := range input.Project.AllServices() {
		profiles = append(profiles, s.Profiles...)
	}
	slices.Sort(profiles)
	return slices.Compact(profiles), noFiles
}

// addCompletions gives flags their values, and keeps file names from where they
// mean nothing.
func (app *App) addCompletions(root *cobra.Command) {
	values := map[string]cobra.CompletionFunc{
		"cluster": app.completeClusters, "profile": app.completeProfiles, "scale": app.completeScales, "exit-code-from": app.completeServices,
		"pull": fixed("always", "missing", "never"), "policy": fixed("always", "missing"), "rmi": fixed("local"),
		"status": fixed(podStates()...), "protocol": fixed("tcp", "udp"), "hash": app.completeServices,
		"context": cobra.NoFileCompletions, "project-name": cobra.NoFileCompletions, "registry": cobra.NoFileCompletions,
	}
	for _, cmd := range append(descendants(root), root) {
		if !strings.Contains(cmd.Use, " ") && cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		for name, complete := range values {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, complete) // fails only for a flag that has one
			}
		}
	}
}

// fixed completes the values of a flag that takes no others.
func fixed(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, noFiles)
}
