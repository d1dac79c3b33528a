package image

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Listing is what the engine and nodes have of one image.
type Listing struct {
	Ref     string
	Found   bool   // the engine holds it
	ID      string // sha256:...
	Tag     string // the content tag, of images that berth built
	Size    int64
	Created time.Time
	Nodes   []string // that have what pods use: the content tag, or Ref
}

// List looks images up in the engine and on nodes.
func (i *Images) List(ctx context.Context, refs []string, nodes []Node) ([]Listing, error) {
	list := make([]Listing, len(refs))
	names := make([]string, len(refs))
	for n, ref := range refs {
		img, found, err := i.engine.InspectImage(ctx, ref)
		if err != nil {
			return nil, err
		}
		list[n] = Listing{Ref: ref, Found: found, ID: img.Facts.ID, Size: img.Size, Created: img.Created}
		used := ref
		if found && ownedByBerth(img.Facts.Labels) && ownBuild(img.Facts.ID, img.Tags) {
			used = contentTag(ref, img.Facts.ID)
			list[n].Tag = used
		}
		if names[n], err = FullName(used); err != nil {
			return nil, err
		}
	}
	records := make([]map[string]digest.Digest, len(nodes))
	errs := make([]error, len(nodes))
	each(nodes, func(n int, node Node) { records[n], errs[n] = node.Records(ctx, names, "") })
	for k, node := range nodes {
		if errs[k] != nil {
			return nil, errs[k]
		}
		for n := range list {
			if records[k][names[n]] != "" {
				list[n].Nodes = append(list[n].Nodes, node.Name())
			}
		}
	}
	return list, nil
}
