package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// nodeImages makes images available to nodes that are containers of the engine:
// the engine builds and pulls, and the nodes that run pods get the layers they
// lack. What the engine cannot get, the nodes may have or pull themselves.
type nodeImages struct {
	engineImages
	nodes   func(ctx context.Context) ([]image.Node, error)
	secrets func(ref string) []string // that pods pull an image with

	mu      sync.Mutex
	without map[string]bool // images that come to the nodes without the engine
}

func (s *session) nodeImages(deps *devloop.Deps) *nodeImages {
	return &nodeImages{
		engineImages: engineImages{s.images},
		nodes:        s.live.workers, without: map[string]bool{},
		secrets: func(ref string) []string { return pullSecretsOf(deps, *s.latest.Load(), ref) },
	}
}

// pullSecretsOf are the Secrets that the pods of an image pull it with.
func pullSecretsOf(deps *devloop.Deps, in translate.Input, ref string) []string {
	r, err := deps.Translate(in, deps.Target)
	if err != nil {
		return nil // reported where the project is translated
	}
	for _, img := range r.Images {
		if img.Ref == ref {
			return img.PullSecrets
		}
	}
	return nil
}

// Ensure sees to it that the engine holds an image, or that the nodes get it
// without the engine. Then nothing but its name is known.
func (n *nodeImages) Ensure(ctx context.Context, ref string, policy model.PullPolicy, platform string, sink progress.Sink) (model.ImageFacts, error) {
	facts, err := n.engineImages.Ensure(ctx, ref, policy, platform, sink)
	if err == nil || ctx.Err() != nil || !image.IsAbsent(err) {
		return facts, err
	}
	nodes, nodeErr := n.nodes(ctx)
	if nodeErr != nil {
		return facts, errors.Join(err, nodeErr)
	}
	got, nodeErr := n.images.OnNodes(ctx, ref, nodes, sink)
	if nodeErr != nil {
		return facts, fmt.Errorf("%w; nor can the nodes pull it: %w", err, nodeErr)
	}
	if !got {
		secrets := n.secrets(ref)
		if len(secrets) == 0 || policy == model.PullNever {
			return facts, err
		}
		progress.Say(sink, progress.Warn, "pull "+ref, "the engine cannot get it: the nodes are to pull it with "+strings.Join(secrets, ", "))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.without[ref] = true
	return model.ImageFacts{Ref: ref}, nil
}

// Load loads those of the images that come from the engine.
func (n *nodeImages) Load(ctx context.Context, refs []string, sink progress.Sink) ([]model.NodeLoad, error) {
	var held []string
	n.mu.Lock()
	for _, ref := range refs {
		if !n.without[ref] {
			held = append(held, ref)
		}
	}
	n.mu.Unlock()
	if len(held) == 0 {
		return nil, nil
	}
	nodes, err := n.nodes(ctx)
	if err != nil {
		return nil, err
	}
	return n.images.Load(ctx, held, nodes, sink)
}
