package offline

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
)

// An Item is one thing that the kit makes.
type Item struct {
	Kind  string `json:"kind"`  // program, node image, base image
	Name  string `json:"name"`  // of the program, or the image's reference
	State string `json:"state"` // current, stale, missing, real
	Size  int64  `json:"size"`  // bytes; 0 when it is missing
	Holds string `json:"holds,omitempty"`
}

// How an item stands to what this berth would make.
const (
	Current = "current" // there, and made from what this berth holds
	Stale   = "stale"   // there, but made from something else
	Missing = "missing"
	Real    = "real" // a base image that is no stand-in
)

// Status says of everything the kit makes whether it is there and fits. A nil
// client leaves the images out.
func (k *Kit) Status(ctx context.Context, c *docker.Client) ([]Item, error) {
	items := k.programStatus()
	if c == nil {
		return items, nil
	}
	plan, err := k.planNode()
	if err != nil {
		return nil, err
	}
	node, err := imageStatus(ctx, c, plan.ref(), "berth/node:"+plan.version)
	if err != nil {
		return nil, err
	}
	node.Kind, node.Holds = "node image", "Kubernetes "+plan.version
	bases, err := k.baseStatus(ctx, c)
	return append(append(items, node), bases...), err
}

// programStatus is the state of what lies in the cache.
func (k *Kit) programStatus() []Item {
	var items []Item
	for _, spec := range moduleSpecs {
		if m := k.modules[spec.name]; len(m.programs) > 0 {
			items = append(items, k.store.status(m.name, m.key(), m.version))
		}
	}
	for _, name := range []string{"pause", "cniagent"} {
		items = append(items, k.store.status(name, programs[name].key(), ""))
	}
	return append(items, k.store.status("debian", debianKey(), debianSuite))
}

// status is the state of one step's result.
func (s store) status(step, key, holds string) Item {
	item := Item{Kind: "program", Name: step, State: Missing, Holds: holds}
	if s.has(step, key) {
		item.State, item.Size = Current, treeSize(s.path(step, key))
		return item
	}
	entries, err := os.ReadDir(filepath.Join(s.root, step))
	if err != nil {
		return item
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), ".part") {
			item.State, item.Size = Stale, treeSize(filepath.Join(s.root, step, e.Name()))
		}
	}
	return item
}

// imageStatus is the state of an image whose name changes with its content;
// moving is the name that follows the newest.
func imageStatus(ctx context.Context, c *docker.Client, ref, moving string) (Item, error) {
	info, found, err := c.ImageInfo(ctx, ref)
	if err != nil || found {
		return Item{Name: ref, State: Current, Size: info.Size}, err
	}
	info, found, err = c.ImageInfo(ctx, moving)
	if err != nil || found {
		return Item{Name: moving, State: Stale, Size: info.Size}, err
	}
	return Item{Name: ref, State: Missing}, nil
}

// baseStatus is the state of the default base images, and of every other that
// has a stand-in in the engine.
func (k *Kit) baseStatus(ctx context.Context, c *docker.Client) ([]Item, error) {
	forges, err := k.forges(c)
	if err != nil {
		return nil, err
	}
	refs := DefaultBases()
	made, err := c.Images(ctx, model.LabelStandIn+"=true")
	if err != nil {
		return nil, err
	}
	for _, img := range made {
		for _, tag := range img.Tags {
			// Images built on a stand-in inherit its label; only those that a
			// recipe is for are stand-ins themselves.
			if _, known := forgeFor(forges, tag); known && !slices.Contains(refs, tag) {
				refs = append(refs, tag)
			}
		}
	}
	slices.SortFunc(refs, cmp.Compare[string])
	var items []Item
	for _, ref := range refs {
		item := Item{Kind: "base image", Name: ref, State: Missing}
		info, found, err := c.ImageInfo(ctx, ref)
		if err != nil {
			return items, err
		}
		f, known := forgeFor(forges, ref)
		if found {
			item.Size, item.Holds = info.Size, info.Labels[labelHolds]
		}
		switch {
		case found && info.Labels[model.LabelStandIn] != "true":
			item.State = Real
		case found && known && f.fits(info.Labels):
			item.State = Current
		case found:
			item.State = Stale
		}
		items = append(items, item)
	}
	return items, nil
}
