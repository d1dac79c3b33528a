package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/image/layout"
)

// What a name of the user's (web:dev) stood for stays on a node when the name moves
// to another image: the kubelet has it by its ID. Content tags of projects are
// pruned; of what `berth load` replaces a few pile up and then go together, for
// their removal takes longer than a load.

// keepReplaced is how many pile up.
const keepReplaced = 3

// nameKey is where the layout remembers what a name stood for on nodes so many
// moves ago.
func nameKey(name, platform string, ago int) string {
	return imageKey(fmt.Sprintf("name-%s-%d", digest.FromString(name).Encoded(), ago), platform)
}

// loadedKey is where the layout remembers that an image was loaded from here.
func loadedKey(d digest.Digest) string { return "loaded-" + d.String() }

// noteNames remembers what names stand for now. It returns what they stood for as
// many moves ago as images may pile up: a node that still has one of these is
// cleared.
func (i *Images) noteNames(names []string, platform string, img layout.Image) (last []layout.Image, err error) {
	for _, name := range names {
		if now, known := i.cache.GetImage(nameKey(name, platform, 0)); known && now.Digest() == img.Digest() {
			continue
		}
		moving := img
		for ago := range i.pile {
			before, known := i.cache.GetImage(nameKey(name, platform, ago))
			if err := i.cache.PutImage(nameKey(name, platform, ago), moving); err != nil {
				return nil, err
			}
			if !known {
				break
			}
			if moving = before; ago == i.pile-1 {
				last = append(last, before)
			}
		}
	}
	return last, i.cache.PutImage(loadedKey(img.Digest()), img)
}

// removeReplaced takes the images off a node that were loaded from here, have no
// name left and are used by no container.
func (i *Images) removeReplaced(ctx context.Context, node Node) error {
	images, err := node.Images(ctx)
	if err != nil {
		return err
	}
	nameless := i.loadedNameless(images)
	if len(nameless) == 0 {
		return nil
	}
	used, err := node.InUse(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for name, img := range nameless {
		if chain := img.ChainIDs(); len(chain) > 0 && !used[chain[len(chain)-1]] {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	slices.Sort(gone)
	return i.remove(ctx, node, gone)
}

// loadedNameless are those of a node's images that were loaded from here and that
// it knows by their ID alone, by that record.
func (i *Images) loadedNameless(images []NodeImage) map[string]layout.Image {
	named := map[digest.Digest]bool{}
	for _, img := range images {
		named[img.Target] = named[img.Target] || !isID(img.Name)
	}
	found := map[string]layout.Image{}
	for _, img := range images {
		if named[img.Target] {
			continue
		}
		if loaded, ok := i.cache.GetImage(loadedKey(img.Target)); ok {
			found[img.Name] = loaded
		}
	}
	return found
}
