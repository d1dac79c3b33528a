package image

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
)

// Fetch describes an image of the engine and sees to it that the cache holds
// all of its layers.
func (i *Images) Fetch(ctx context.Context, ref, platform string) (layout.Image, error) {
	img, found, err := i.engine.InspectImage(ctx, ref)
	if err != nil {
		return layout.Image{}, err
	}
	if !found {
		return layout.Image{}, problem.New(fmt.Sprintf("the engine has no image %q", ref), nil, "docker pull "+ref)
	}
	layers := map[int]bool{}
	for n := range img.DiffIDs {
		layers[n] = true
	}
	return i.export(ctx, want{img: img, platform: platform, layers: layers})
}

// Cache is the store that Fetch fills.
func (i *Images) Cache() *layout.Store { return i.cache }
