package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// registryImages makes images available to a cluster that gets them from
// registries: what the project builds, and what only this engine has, is
// pushed; everything else the nodes pull by the name it has.
type registryImages struct {
	engineImages
	registry image.Registry // its Prefix is "" when no registry is known
	own      string         // the engine's platform
	context  string

	mu     sync.Mutex
	pushed map[string]pushedImage // by the name that pods use
}

// A pushedImage is an image of the engine that goes to the registry.
type pushedImage struct {
	ref       string   // in the engine
	platforms []string // that it is pushed for; none for the engine's own
}

// Build builds an image for the platforms of the cluster's nodes.
func (r *registryImages) Build(ctx context.Context, spec model.BuildSpec, sink progress.Sink) (model.ImageFacts, error) {
	if r.registry.Prefix == "" {
		return model.ImageFacts{}, r.noRegistry(spec.Name)
	}
	if len(spec.Platforms) == 0 && len(r.registry.Platforms) > 0 && !slices.Equal(r.registry.Platforms, []string{r.own}) {
		spec.Platforms = r.registry.Platforms
	}
	facts, err := r.engineImages.Build(ctx, spec, sink)
	if err != nil {
		return facts, err
	}
	return r.named(facts, spec.Platforms)
}

// Ensure finds out what the image is, and whether the nodes can pull it.
func (r *registryImages) Ensure(ctx context.Context, ref string, policy model.PullPolicy, platform string, sink progress.Sink) (model.ImageFacts, error) {
	facts, err := r.engineImages.Ensure(ctx, ref, policy, platform, sink)
	if err != nil {
		if ctx.Err() != nil || !image.IsAbsent(err) {
			return facts, err
		}
		if policy == model.PullNever {
			return r.onlyOnNodes(ref, err, sink)
		}
		progress.Say(sink, progress.Warn, "pull "+ref, "the engine cannot get it, so that nothing but its name is known; the nodes are to pull it themselves")
		return model.ImageFacts{Ref: ref}, nil
	}
	// What pods must not pull by its own name goes through the cluster's registry.
	if policy != model.PullNever && r.images.InRegistry(ctx, ref) {
		return facts, nil
	}
	if ctx.Err() != nil {
		return facts, context.Cause(ctx)
	}
	if r.registry.Prefix == "" {
		why := "no registry is known to have it"
		if policy == model.PullNever {
			why = "pull_policy forbids the nodes to pull it, and pods start where they have it"
		}
		progress.Say(sink, progress.Warn, "image "+ref, why+"; --registry names one to push it to")
		return facts, nil
	}
	platforms := r.registry.Platforms
	if platform != "" { // the service runs on nodes of that one alone
		platforms = []string{platform}
	}
	return r.named(facts, platforms)
}

// onlyOnNodes is about an image that the engine lacks and that nobody may pull:
// where no registry is known, as with images that users have put onto the nodes
// by other ways, these may have it.
func (r *registryImages) onlyOnNodes(ref string, absent error, sink progress.Sink) (model.ImageFacts, error) {
	if r.registry.Prefix != "" {
		return model.ImageFacts{}, absent
	}
	progress.Say(sink, progress.Warn, "image "+ref, "the engine does not have it, and pull_policy forbids the nodes to pull it: pods start where they have it already")
	return model.ImageFacts{Ref: ref}, nil
}

// named gives an image the name that pods use once it is pushed for platforms.
func (r *registryImages) named(facts model.ImageFacts, platforms []string) (model.ImageFacts, error) {
	name, err := r.registry.PodName(facts.Ref, facts.ID)
	if err != nil {
		return facts, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushed[name] = pushedImage{facts.Ref, platforms}
	facts.Ref = name
	return facts, nil
}

// Load pushes those of the images that nodes can only get from the registry.
func (r *registryImages) Load(ctx context.Context, refs []string, sink progress.Sink) ([]model.NodeLoad, error) {
	var loads []model.NodeLoad
	var errs []error
	for _, b := range r.batches(refs) {
		pushed, err := r.images.PushTo(ctx, b.refs, b.registry, sink)
		errs = append(errs, err)
		for _, ref := range b.refs {
			p, ok := pushed[ref]
			if !ok {
				continue
			}
			l := model.NodeLoad{Node: r.registry.Prefix, Image: ref, Outcome: model.LoadPresent, Layers: p.Layers, AllLayers: p.AllLayers, Bytes: p.Bytes}
			if p.Layers > 0 {
				l.Outcome = model.LoadSent
			}
			loads = append(loads, l)
		}
	}
	return loads, errors.Join(errs...)
}

// A batch is what is pushed at one time: images for the same platforms.
type batch struct {
	registry image.Registry
	refs     []string
}

// batches are the images, by the names that pods use, that have to be pushed.
func (r *registryImages) batches(refs []string) []batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []batch
	for _, name := range refs {
		p, ok := r.pushed[name]
		if !ok {
			continue
		}
		i := slices.IndexFunc(list, func(b batch) bool { return slices.Equal(b.registry.Platforms, p.platforms) })
		if i < 0 {
			i = len(list)
			list = append(list, batch{registry: r.registry})
			list[i].registry.Platforms = p.platforms
		}
		list[i].refs = append(list[i].refs, p.ref)
	}
	return list
}

func (r *registryImages) noRegistry(ref string) error {
	return problem.New(fmt.Sprintf("bring image %q to the cluster of context %q", ref, r.context),
		fmt.Errorf("no registry is known that its nodes pull from"), "berth up --context "+r.context+" --registry HOST[/PATH]")
}
