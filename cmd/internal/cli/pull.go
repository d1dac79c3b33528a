package cli

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
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
			if !slices.Contains([]string{"", string(model.PullAlways), string(model.PullMissing)}, policy) {
				return misuse(fmt.Sprintf("unknown --policy %q", policy), nil, "use always or missing")
			}
			p, err := app.projectImages(cmd.Context(), args, deps)
			if err != nil {
				return err
			}
			images, err := app.images(cmd.Context())
			if err != nil {
				return err
			}
			sink := app.sink()
			if quiet {
				sink = progress.Discard
			}
			var wanted []image.Wanted
			for _, img := range p.picked {
				if img.Build != nil && !buildable {
					continue
				}
				when, pulls := pullsWhen(img.PullPolicy, policy)
				if !pulls {
					progress.Say(sink, progress.Skipped, "pull "+img.Ref, "pull_policy: "+img.PullPolicy)
					continue
				}
				wanted = append(wanted, image.Wanted{Ref: img.Ref, Policy: when, Platform: img.Platform})
			}
			_, err = images.EnsureAll(cmd.Context(), wanted, p.parallel, sink)
			if err != nil && ignore && cmd.Context().Err() == nil {
				progress.Say(app.sink(), progress.Warn, "pull", err.Error())
				err = nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&policy, "policy", "", "in place of pull_policy: `when` is always or missing")
	flags.BoolVar(&deps, "include-deps", false, "also pull images of what the named services depend on")
	flags.BoolVar(&buildable, "include-buildable", false, "also pull images that the project can build")
	addAlwaysFlag(flags, "ignore-buildable", "leave out images that the project can build; always so without --include-buildable")
	cmd.MarkFlagsMutuallyExclusive("include-buildable", "ignore-buildable")
	flags.BoolVar(&ignore, "ignore-pull-failures", false, "go on when an image cannot be pulled")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// pullsWhen says when an image is pulled by a user who asks for it: as its
// pull_policy says, or what asked has instead. What is to be refreshed after some
// time is pulled at once; what is never to be pulled, or built, is not.
func pullsWhen(policy, asked string) (when model.PullPolicy, pulls bool) {
	switch cmp.Or(asked, policy) {
	case types.PullPolicyNever, types.PullPolicyBuild:
		return model.PullNever, false
	case types.PullPolicyMissing, types.PullPolicyIfNotPresent:
		return model.PullMissing, true
	}
	return model.PullAlways, true
}
