package image

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/image/layout"
)

// What a name of the user's (web:dev) stood for stays on a node when the name moves
// to another image: the kubelet has it by its ID. Content tags of projects are
// pruned; what `berth load` replaces goes at once.

// nameKey is where the layout remembers what a name stands for on nodes.
func nameKey(name, platform string) string {
	return imageKey("name-"+digest.FromString(name).Encoded(), platform)
}

// loadedKey is where the layout remembers that an image was loaded from here.
func loadedKey(d digest.Digest) string { return "loaded-" + d.String() }

// noteNames remembers what names stand for now, and reports whether one of them
// stood for another image before.
func (i *Images) noteNames(names []string, platform string, img layout.Image) (moved bool, err error) {
	for _, name := range names {
		before, known := i.cache.GetImage(nameKey(name, platform))
		if known && before.Digest() == img.Digest() {
			continue
		}
		moved = moved || known
		if err := i.cache.PutImage(nameKey(name, platform), img); err != nil {
			return moved, err
		}
	}
	return moved, i.cache.PutImage(loadedKey(img.Digest()), img)
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
