package devloop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/translate"
)

// imagesInOrder lists the images that selected services need, those that other
// builds start from first.
func (p *planner) imagesInOrder() []translate.Image {
	var order []translate.Image
	seen := map[string]bool{}
	var visit func(img translate.Image)
	visit = func(img translate.Image) {
		if seen[img.Ref] {
			return
		}
		seen[img.Ref] = true
		for _, base := range p.baseImages(img) {
			visit(base)
		}
		order = append(order, img)
	}
	for _, img := range p.want.Result.Images {
		if slices.ContainsFunc(img.Services, func(s string) bool { return p.want.Select[s] }) {
			visit(img)
		}
	}
	return order
}

// baseImages lists the images of services that the build of img names in
// additional_contexts (service:NAME).
func (p *planner) baseImages(img translate.Image) []translate.Image {
	if img.Build == nil {
		return nil
	}
	var bases []translate.Image
	for _, name := range sortedKeys(img.Build.AdditionalContexts) {
		other, ok := strings.CutPrefix(img.Build.AdditionalContexts[name], "service:")
		if !ok {
			continue
		}
		for _, candidate := range p.want.Result.Images {
			if slices.Contains(candidate.Services, other) {
				bases = append(bases, candidate)
			}
		}
	}
	return bases
}

// image plans how the engine and then the nodes come by img.
func (p *planner) image(img translate.Image) {
	cause := p.dirty.Images[img.Ref]
	_, known := p.have.Facts[img.Ref]
	known = known && !p.have.Stale[img.Ref]
	users := slices.DeleteFunc(slices.Clone(img.Services), func(s string) bool { return !p.want.Select[s] })
	var after []int
	for _, base := range p.baseImages(img) {
		if id, again := p.made[base.Ref]; again {
			after = append(after, id)
			if cause == "" && known {
				cause = "built from image " + base.Ref
			}
		}
	}
	if cause == "" {
		if p.dirty.All == "" && (known && p.have.Loaded[p.have.Facts[img.Ref].Ref] || !slices.ContainsFunc(users, p.isDirty)) {
			return
		}
		cause = "needed by " + strings.Join(users, ", ")
	}
	p.causes[img.Ref] = cause
	if !known || p.dirty.Images[img.Ref] != "" || len(after) > 0 {
		verb := Pull
		if builds(img, p.want.Options) {
			verb = Build
		}
		p.made[img.Ref] = p.add(Action{Verb: verb, Image: img.Ref, Cause: cause, After: after})
	}
	if len(users) > 0 {
		p.ready[img.Ref] = p.add(Action{Verb: Load, Image: img.Ref, Cause: cause, After: []int{p.made[img.Ref]}})
	}
}

// isDirty reports whether the service is to be applied for a reason of its own.
func (p *planner) isDirty(service string) bool {
	return p.dirty.Services[service] != "" || p.dirty.Restart[service] != ""
}

// builds reports whether img is built rather than pulled. An image with a
// build section is built unless its pull_policy prefers a registry.
func builds(img translate.Image, opts UpOptions) bool {
	if img.Build == nil || opts.NoBuild {
		return false
	}
	return opts.Build || img.PullPolicy == "" || img.PullPolicy == "build" || img.PullPolicy == "never"
}

// pullPolicy reduces compose's pull_policy, or what opts say instead, to what
// the engine is asked.
func pullPolicy(img translate.Image, opts UpOptions) (model.PullPolicy, error) {
	asked := img.PullPolicy
	if img.Build == nil && opts.Pull != "" {
		asked = opts.Pull
	}
	policy, interval, err := types.ServiceConfig{ContainerSpec: types.ContainerSpec{PullPolicy: asked}}.GetPullPolicy()
	switch {
	case err != nil:
		return "", fmt.Errorf("image %q: %w", img.Ref, err)
	case interval > 0:
		return model.PullEvery(interval), nil
	case policy == types.PullPolicyAlways, policy == types.PullPolicyRefresh:
		return model.PullAlways, nil
	case policy == types.PullPolicyNever, policy == types.PullPolicyBuild:
		return model.PullNever, nil
	}
	return model.PullMissing, nil
}
