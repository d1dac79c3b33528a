package addon

import (
	"context"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
)

// LabelImages is on node images of the offline kit: the images that are
// loaded on the node from the start, separated by spaces.
const LabelImages = "dev.berth.images"

// Images are those a node has from the start. Only node images of the offline
// kit, made for machines without a registry, tell of any.
type Images []string

// An Inspector looks at images of the engine.
type Inspector interface {
	ImageInfo(ctx context.Context, ref string) (docker.ImageInfo, bool, error)
}

// ImagesOf lists what a node image brings along; none when the engine does not
// hold it.
func ImagesOf(ctx context.Context, engine Inspector, nodeImage string) (Images, error) {
	node, _, err := engine.ImageInfo(ctx, nodeImage)
	return strings.Fields(node.Labels[LabelImages]), err
}

// Find returns the first image whose name holds part, "" when none does.
func (i Images) Find(part string) string {
	for _, image := range i {
		if strings.Contains(image, part) {
			return image
		}
	}
	return ""
}
