package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newPushCommand(app *App) *cobra.Command {
	var ignore, quiet bool
	cmd := &cobra.Command{
		Use:   "push [SERVICE...]",
		Short: "Push the images of services to their registries",
		Long: `Push the images that the project builds to the registries that their names
(image: in the compose file) give, with the credentials of the Docker config.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := app.projectImages(cmd.Context(), args)
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
			var errs []error
			pushed := 0
			for _, img := range p.picked {
				// As in docker compose: what has no `image` has no place to go to.
				if img.Build == nil || p.input.Project.Services[img.Services[0]].Image == "" {
					continue
				}
				pushed++
				errs = append(errs, images.Push(cmd.Context(), img.Ref, sink))
			}
			err = errors.Join(errs...)
			switch {
			case pushed == 0:
				return problem.New("there is nothing to push", nil, "give services that have a `build` an `image` with the registry's name")
			case err != nil && ignore && cmd.Context().Err() == nil:
				progress.Say(app.sink(), progress.Warn, "push", err.Error())
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&ignore, "ignore-push-failures", false, "go on when an image cannot be pushed")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}
