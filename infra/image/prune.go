package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
)

// keepBuilds is how many builds of an image stay, the current one included.
const keepBuilds = 3

// A PruneRequest says what may be pruned.
type PruneRequest struct {
	Project string
	Keep    []string // references that stay whatever their age: what the project uses now
	Nodes   []Node   // may be empty
}

// Prune removes superseded content tags of a project from the engine and from
// nodes, keeping the last few of each image. It touches only tags that berth
// made for the project, and none that a container runs.
func (i *Images) Prune(ctx context.Context, r PruneRequest) error {
	keep, err := fullNames(r.Keep)
	if err != nil {
		return err
	}
	errs := make([]error, len(r.Nodes)+1)
	inParallel(len(r.Nodes)+1, len(r.Nodes)+1, func(n int) {
		if n == len(r.Nodes) {
			errs[n] = i.pruneEngine(ctx, r.Project, keep, keepBuilds)
			return
		}
		if err := i.pruneNode(ctx, r.Nodes[n], r.Project, keep, keepBuilds); err != nil {
			errs[n] = fmt.Errorf("prune images on node %q: %w", r.Nodes[n].Name(), err)
		}
	})
	return errors.Join(errs...)
}

// Forget removes every image that berth built for a project, from the engine
// (tags the user knows included) and from nodes: `down --rmi local`.
func (i *Images) Forget(ctx context.Context, project string, nodes []Node) error {
	errs := make([]error, len(nodes)+1)
	inParallel(len(nodes)+1, len(nodes)+1, func(n int) {
		if n == len(nodes) {
			errs[n] = i.forgetEngine(ctx, project)
			return
		}
		if err := i.forgetNode(ctx, nodes[n], project); err != nil {
			errs[n] = fmt.Errorf("remove images from node %q: %w", nodes[n].Name(), err)
		}
	})
	return errors.Join(errs...)
}

// A tagged is a name with what decides whether it stays.
type tagged struct {
	name  string // full
	age   int64  // greater is newer
	inUse bool
}

// superseded picks the content tags that may go: of each repository all but
// the newest, what is kept by name, and what is in use.
func superseded(tags []tagged, keep []string, last int) []string {
	groups := map[string][]tagged{}
	for _, t := range tags {
		if strings.HasPrefix(tagOf(t.name), tagPrefix) {
			groups[repository(t.name)] = append(groups[repository(t.name)], t)
		}
	}
	var gone []string
	for _, group := range groups {
		slices.SortFunc(group, func(a, b tagged) int {
			return cmp.Or(-cmp.Compare(a.age, b.age), cmp.Compare(a.name, b.name))
		})
		for n, t := range group {
			if n >= last && !t.inUse && !slices.Contains(keep, t.name) {
				gone = append(gone, t.name)
			}
		}
	}
	slices.Sort(gone)
	return gone
}

func (i *Images) pruneEngine(ctx context.Context, project string, keep []string, last int) error {
	images, used, err := i.builtFor(ctx, project)
	if err != nil {
		return err
	}
	var tags []tagged
	for _, img := range images {
		for _, tag := range img.Tags {
			full, err := FullName(tag)
			if err != nil {
				continue // <none>:<none>
			}
			tags = append(tags, tagged{full, img.Created.UnixNano(), used[img.ID]})
		}
	}
	var errs []error
	for _, name := range superseded(tags, keep, last) {
		errs = append(errs, i.engine.RemoveImage(ctx, name))
	}
	return errors.Join(errs...)
}

// builtFor lists what berth built for a project, and the IDs of images that
// containers of the engine use. The user's own images made FROM those inherit
// their labels, but have no content tag of their own.
func (i *Images) builtFor(ctx context.Context, project string) ([]docker.ImageSummary, map[string]bool, error) {
	images, err := i.engine.Images(ctx, model.LabelManagedBy+"="+model.ManagedBy, model.LabelProject+"="+project)
	if err != nil {
		return nil, nil, err
	}
	images = slices.DeleteFunc(images, func(img docker.ImageSummary) bool { return !ownBuild(img.ID, img.Tags) })
	containers, err := i.engine.Containers(ctx)
	if err != nil {
		return nil, nil, err
	}
	used := map[string]bool{}
	for _, c := range containers {
		used[c.ImageID] = true
	}
	return images, used, nil
}

func (i *Images) forgetEngine(ctx context.Context, project string) error {
	images, used, err := i.builtFor(ctx, project)
	if err != nil {
		return err
	}
	var errs []error
	for _, img := range images {
		if used[img.ID] {
			continue
		}
		for _, tag := range img.Tags {
			errs = append(errs, i.engine.RemoveImage(ctx, tag))
		}
	}
	return errors.Join(errs...)
}

// forgetNode removes every record that was loaded for a project, also those
// that dead containers were made from: the kubelet clears these away in its own
// time, and after a restart of the node that can be long after their pods.
func (i *Images) forgetNode(ctx context.Context, node Node, project string) error {
	images, err := node.Images(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for n, img := range images {
		images[n].Running = false
		if img.Labels[labelNodeProject] == project {
			gone = append(gone, img.Name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return i.remove(ctx, node, append(gone, orphans(images, gone)...))
}

// pruneNode removes superseded tags, and with the last name of an image the
// record by which the kubelet refers to it, which would keep its layers.
func (i *Images) pruneNode(ctx context.Context, node Node, project string, keep []string, last int) error {
	images, err := node.Images(ctx)
	if err != nil {
		return err
	}
	var tags []tagged
	for _, img := range images {
		if img.Labels[labelNodeProject] == project {
			tags = append(tags, tagged{img.Name, img.loadedAt().UnixNano(), img.Running})
		}
	}
	gone := superseded(tags, keep, last)
	if len(gone) == 0 {
		return nil
	}
	return i.remove(ctx, node, append(gone, orphans(images, gone)...))
}

// remove takes records off a node in its turn: a load must not count on layers
// that go with them. What this process has seen of the node is seen anew.
func (i *Images) remove(ctx context.Context, node Node, names []string) error {
	seen := i.seen(node)
	if err := seen.sending.enter(ctx); err != nil {
		return err
	}
	defer seen.sending.leave()
	before, _ := seen.known()
	err := node.Remove(ctx, names)
	seen.forget()
	if err == nil && before != nil {
		_, _ = seen.ask(ctx, node, never) // if it does not answer, the next load asks
	}
	return err
}

// orphans are the records by ID of images that lose their last name.
func orphans(images []NodeImage, gone []string) []string {
	named := map[digest.Digest]bool{}
	losing := map[digest.Digest]bool{}
	for _, img := range images {
		switch {
		case slices.Contains(gone, img.Name):
			losing[img.Target] = true
		case !isID(img.Name):
			named[img.Target] = true
		}
	}
	var list []string
	for _, img := range images {
		if isID(img.Name) && losing[img.Target] && !named[img.Target] && !img.Running {
			list = append(list, img.Name)
		}
	}
	return list
}
