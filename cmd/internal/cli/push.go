package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newPushCommand(app *App) *cobra.Command {
	var deps, ignore, quiet bool
	cmd := &cobra.Command{
		Use:   "push [SERVICE...]",
		Short: "Push the images of services to their registries",
		Long: `Push the images that the project builds to the registries that their names
(image: in the compose file) give, with the credentials of the Docker config.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
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
			err = p.push(cmd.Context(), images, sink)
			if err != nil && ignore && cmd.Context().Err() == nil {
				progress.Say(app.sink(), progress.Warn, "push", err.Error())
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&deps, "include-deps", false, "also push images of what the named services depend on")
	flags.BoolVar(&ignore, "ignore-push-failures", false, "go on when an image cannot be pushed")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// push pushes the picked images that are built and have a registry to go to:
// as in docker compose, what has no `image` has none. That there is nothing to
// push is an error.
func (p projectImages) push(ctx context.Context, images *image.Images, sink progress.Sink) error {
	var errs []error
	for _, img := range p.picked {
		if img.Build == nil || p.input.Project.Services[img.Services[0]].Image == "" {
			continue
		}
		errs = append(errs, images.Push(ctx, img.Ref, sink))
	}
	if len(errs) == 0 {
		return problem.New("there is nothing to push", nil, "give services that have a `build` an `image` with the registry's name")
	}
	return errors.Join(errs...)
}
