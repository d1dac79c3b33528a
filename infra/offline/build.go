package offline

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
)

// Result is what a build of the kit ended with.
type Result struct {
	NodeImage  string `json:"nodeImage"`
	Kubernetes string `json:"kubernetes"`
	Bases      []Base `json:"bases"`
	Skipped    string `json:"skipped,omitempty"` // why nothing was looked at
}

// Build gives the engine the node image and stand-ins for the base images that
// are asked for. What is there and fits is left alone; what it replaces is
// removed, unless something uses it.
func (k *Kit) Build(ctx context.Context, c *docker.Client, bases []string) (Result, error) {
	plan, err := k.planNode()
	if err != nil {
		return Result{}, err
	}
	r := Result{Kubernetes: plan.version}
	if r.NodeImage, err = k.EnsureNodeImage(ctx, c); err != nil {
		return r, err
	}
	if r.Bases, err = k.EnsureBases(ctx, c, bases...); err != nil {
		return r, err
	}
	return r, k.removeSuperseded(ctx, c)
}

// probeImage is asked of its registry to find out whether one is reached.
const probeImage = "docker.io/library/debian:bookworm-slim"

// Needed reports whether this machine needs the kit: no registry answers. The
// reason is for people.
func (k *Kit) Needed(ctx context.Context, c *docker.Client) (needed bool, reason string, err error) {
	task := progress.Start(k.sink, "registry", "asking for "+probeImage)
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = c.AskRegistry(limited, probeImage)
	switch {
	case ctx.Err() != nil:
		return false, "", context.Cause(ctx)
	case err == nil:
		task.Done("reached")
		return false, "a registry is reached, so images can be pulled", nil
	default:
		task.Skip("not reached")
		return true, "no registry is reached: " + firstLine(err), nil
	}
}

// removeSuperseded removes images of the kit that a newer one has replaced and
// no container uses; the next build sees to the others.
func (k *Kit) removeSuperseded(ctx context.Context, c *docker.Client) error {
	keep, err := k.currentImages()
	if err != nil {
		return err
	}
	containers, err := c.Containers(ctx)
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, x := range containers {
		used[x.ImageID] = true
	}
	images, err := c.Images(ctx, labelKit)
	if err != nil {
		return err
	}
	for _, img := range images {
		for _, tag := range img.Tags {
			if used[img.ID] || !strings.HasPrefix(tag, "berth/") || slices.Contains(keep, tag) {
				continue
			}
			if err := c.RemoveImage(ctx, tag); err != nil {
				progress.Say(k.sink, progress.Note, "offline kit", firstLine(err))
			}
		}
	}
	return nil
}

// currentImages lists the names of the kit's images that fit this berth,
// whether they are there or not.
func (k *Kit) currentImages() ([]string, error) {
	plan, err := k.planNode()
	if err != nil {
		return nil, err
	}
	keep := []string{debianImage(), nodeBaseImage(plan.texts["install-base.sh"]), plan.ref(), "berth/node:" + plan.version}
	forges, err := k.forges(nil)
	if err != nil {
		return nil, err
	}
	for _, f := range forges {
		keep = append(keep, f.standIn())
	}
	return keep, nil
}
