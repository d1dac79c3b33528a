package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-dev/berth/infra/progress"
)

// OnNodes brings an image that the engine cannot get to nodes without it: they
// have it, or they know a way to its registry of their own, as kind's nodes do
// that were given a mirror. It reports whether all of them have it then; the
// error is about nodes that tried.
func (i *Images) OnNodes(ctx context.Context, ref string, nodes []Node, sink progress.Sink) (bool, error) {
	name, err := FullName(ref)
	if err != nil {
		return false, err
	}
	registry, err := RegistryOf(ref)
	if err != nil {
		return false, err
	}
	var lacking []Node
	ways := make([]bool, len(nodes))
	has := make([]bool, len(nodes))
	each(nodes, func(n int, node Node) {
		if found, err := node.Unpacked(ctx, []string{name}); err == nil && found[name] != "" {
			has[n] = true
			return
		}
		ways[n], _ = node.Mirrors(ctx, registry) // one that does not answer is not asked to pull
	})
	for n, node := range nodes {
		switch {
		case has[n]:
		case !ways[n]:
			return false, nil
		default:
			lacking = append(lacking, node)
		}
	}
	if len(lacking) == 0 {
		progress.Say(sink, progress.Note, "image "+ref, "the engine cannot get it; the nodes have it")
		return true, nil
	}
	task := progress.Start(sink, "pull "+ref, "on the nodes, which have a mirror of "+registry+"; the engine cannot get it")
	errs := make([]error, len(lacking))
	each(lacking, func(n int, node Node) {
		if err := node.Pull(ctx, ref); err != nil {
			errs[n] = fmt.Errorf("node %q: %w", node.Name(), err)
		}
	})
	err = errors.Join(errs...)
	return err == nil, task.End(err, "by "+plural(len(lacking), "node"))
}
