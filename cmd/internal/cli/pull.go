package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

func newPullCommand(app *App) *cobra.Command {
	var policy string
	var deps, buildable, ignore, quiet bool
	cmd := &cobra.Command{
		Use:               "pull [SERVICE...]",
		Short:             "Pull the images of services into the engine",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if policy != string(model.PullAlways) && policy != string(model.PullMissing) {
				return misuse(fmt.Sprintf("unknown --policy %q", policy), nil, "use always or missing")
			}
			p, err := app.projectImages(cmd.Context(), args, deps)
			if err != nil {
				return err
			}
			var wanted []image.Wanted
			for _, img := range p.picked {
				if img.Build == nil || buildable {
					wanted = append(wanted, image.Wanted{Ref: img.Ref, Policy: model.PullPolicy(policy), Platform: img.Platform})
				}
			}
			images, err := app.images(cmd.Context())
			if err != nil {
				return err
			}
			sink := app.sink()
			if quiet {
				sink = progress.Discard
			}
			_, err = images.EnsureAll(cmd.Context(), wanted, sink)
			if err != nil && ignore && cmd.Context().Err() == nil {
				progress.Say(app.sink(), progress.Warn, "pull", err.Error())
				err = nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&policy, "policy", string(model.PullAlways), "pull `always` or only what is missing: always, missing")
	flags.BoolVar(&deps, "include-deps", false, "also pull images of what the named services depend on")
	flags.BoolVar(&buildable, "include-buildable", false, "also pull images that the project can build")
	addAlwaysFlag(flags, "ignore-buildable", "leave out images that the project can build; always so without --include-buildable")
	cmd.MarkFlagsMutuallyExclusive("include-buildable", "ignore-buildable")
	flags.BoolVar(&ignore, "ignore-pull-failures", false, "go on when an image cannot be pulled")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}
