package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// ContentTags are those of refs that berth made of its builds.
func ContentTags(refs []string) []string {
	return slices.DeleteFunc(slices.Clone(refs), func(ref string) bool {
		return strings.Contains(ref, "@") || !strings.HasPrefix(tagOf(ref), tagPrefix)
	})
}

// Bring sees to it that nodes have earlier builds, given by their content tags:
// what a node lacks is loaded again as long as the engine has it, and left to be
// pulled if the registry of its name has it. Of each image Prune leaves the last
// few builds; those that are gone are reported.
func (i *Images) Bring(ctx context.Context, refs []string, nodes []Node, sink progress.Sink) error {
	list, err := i.List(ctx, refs, nodes)
	if err != nil {
		return err
	}
	var lacking, gone []string
	for _, l := range list {
		switch {
		case len(l.Nodes) == len(nodes):
		case l.Found:
			lacking = append(lacking, l.Ref)
		case i.InRegistry(ctx, l.Ref):
		default:
			gone = append(gone, l.Ref)
		}
	}
	if len(gone) > 0 {
		return problem.New("image "+strings.Join(gone, ", "), fmt.Errorf("it has been cleared away: of each image the last %d builds stay", keepBuilds),
			"go back to the source that it was built from (`git checkout`, say) and run `berth up`")
	}
	if len(lacking) == 0 {
		return nil
	}
	_, err = i.Load(ctx, lacking, nodes, sink)
	return err
}
