package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// A projectImages is what the compose file says of the images it needs.
type projectImages struct {
	input  translate.Input
	all    []translate.Image
	picked []translate.Image // of the services that the user named

	autoscales bool // the cluster has to know what pods use
	parallel   int  // how many to build or pull at once, 0 where nobody says
}

// projectImages reads the project and picks the images of services, of all
// when none is named; with deps those of what they depend on too.
func (app *App) projectImages(ctx context.Context, services []string, deps bool) (projectImages, error) {
	input, _, err := app.project(ctx, services)
	if err != nil {
		return projectImages{}, err
	}
	result, err := translate.Translate(input, translate.Target{Kind: translate.Portable, IngressDomain: "localhost", HTTPPort: 80})
	if err != nil {
		return projectImages{}, err
	}
	p := projectImages{input: input, all: result.Images}
	if p.parallel, err = parallelLimit(input.Project); err != nil {
		return projectImages{}, err
	}
	p.autoscales = slices.ContainsFunc(result.Objects(), func(o translate.Object) bool {
		return o.GetObjectKind().GroupVersionKind().Kind == "HorizontalPodAutoscaler"
	})
	if services, err = chosenServices(input.Project, services, deps); err != nil {
		return projectImages{}, err
	}
	for _, img := range result.Images {
		if slices.ContainsFunc(img.Services, func(s string) bool { return slices.Contains(services, s) }) {
			p.picked = append(p.picked, img)
		}
	}
	return p, nil
}

// chosenServices are the services that the user named, or all, with what they
// depend on where deps asks for it.
func chosenServices(p *types.Project, named []string, deps bool) ([]string, error) {
	if len(named) == 0 {
		return p.ServiceNames(), nil
	}
	depend := types.IgnoreDependencies
	if deps {
		depend = types.IncludeDependencies
	}
	selected, err := p.WithSelectedServices(named, depend)
	if err != nil {
		return nil, err
	}
	return selected.ServiceNames(), nil
}

// builds lists the picked images that are built, and with them those that
// their builds start from.
func (p projectImages) builds() ([]model.BuildSpec, error) {
	facts := map[string]model.ImageFacts{}
	for _, img := range p.all {
		facts[img.Ref] = model.ImageFacts{Ref: img.Ref} // BuildAll knows the tag once it is built
	}
	var specs []model.BuildSpec
	queue := slices.Clone(p.picked)
	seen := map[string]bool{}
	for len(queue) > 0 {
		img := queue[0]
		queue = queue[1:]
		if img.Build == nil || seen[img.Ref] {
			continue
		}
		seen[img.Ref] = true
		spec, err := devloop.BuildSpec(p.input, img, p.all, facts)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
		queue = append(queue, p.bases(img)...)
	}
	return specs, nil
}

// bases lists the images of services that the build of img starts from.
func (p projectImages) bases(img translate.Image) []translate.Image {
	var bases []translate.Image
	for _, value := range img.Build.AdditionalContexts {
		service, ok := strings.CutPrefix(value, "service:")
		if !ok {
			continue
		}
		for _, other := range p.all {
			if slices.Contains(other.Services, service) {
				bases = append(bases, other)
			}
		}
	}
	return bases
}
