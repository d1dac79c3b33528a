package cli

import (
	"context"
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
	pushed map[string]string // by the name that pods use: the engine's
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
	return r.named(facts)
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
	return r.named(facts)
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

// named gives an image the name that pods use once it is pushed.
func (r *registryImages) named(facts model.ImageFacts) (model.ImageFacts, error) {
	name, err := r.registry.PodName(facts.Ref, facts.ID)
	if err != nil {
		return facts, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushed[name] = facts.Ref
	facts.Ref = name
	return facts, nil
}

// Load pushes those of the images that nodes can only get from the registry.
func (r *registryImages) Load(ctx context.Context, refs []string, sink progress.Sink) ([]model.NodeLoad, error) {
	var local []string
	r.mu.Lock()
	for _, ref := range refs {
		if held, ok := r.pushed[ref]; ok {
			local = append(local, held)
		}
	}
	r.mu.Unlock()
	pushed, err := r.images.PushTo(ctx, local, r.registry, sink)
	var loads []model.NodeLoad
	for _, ref := range local {
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
	return loads, err
}

func (r *registryImages) noRegistry(ref string) error {
	return problem.New(fmt.Sprintf("bring image %q to the cluster of context %q", ref, r.context),
		fmt.Errorf("no registry is known that its nodes pull from"), "berth up --context "+r.context+" --registry HOST[/PATH]")
}
