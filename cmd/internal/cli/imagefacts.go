package cli

import (
	"context"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/translate"
)

// inspectImages adds to the input what the engine knows of the project's
// images. Images that it does not hold are left out: nothing is pulled or built.
func (app *App) inspectImages(ctx context.Context, input *translate.Input) error {
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	images, err := image.New(engine, image.Options{Getenv: app.Getenv})
	if err != nil {
		return err
	}
	result, err := translate.Translate(*input, exportTarget(string(translate.Portable), *input))
	if err != nil {
		return err
	}
	input.Images = map[string]translate.ImageFacts{}
	for _, wanted := range result.Images {
		found, ok, err := engine.InspectImage(ctx, wanted.Ref)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		facts := found.Facts
		if wanted.Users {
			if err := images.AddUsers(ctx, &facts); err != nil {
				return err
			}
		}
		input.Images[wanted.Ref] = devloop.TranslateFacts(facts)
	}
	return nil
}
