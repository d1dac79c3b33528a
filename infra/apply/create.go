package apply

import (
	"context"

	"github.com/berth-dev/berth/infra/model"
)

// holdBack makes the manifest of a workload one that does not run. It says
// whether there is nothing left to do: the cluster has it as wanted, or it was
// made anew.
func (p *Project) holdBack(ctx context.Context, it *item, what string) (done bool, err error) {
	same := it.live != nil && it.live.GetDeletionTimestamp() == nil && it.live.GetAnnotations()[annotationHash] == it.manifest.GetAnnotations()[annotationHash]
	if same && it.hold == holdChanged {
		it.verb = model.Unchanged
		return true, nil
	}
	change := stopChange(it.manifest)
	if change == nil {
		return false, nil // scaled to nothing
	}
	merge(it.manifest.Object, change)
	merge(it.manifest.Object, map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationCreated: "true"}}})
	if it.live == nil || it.key.Kind != "Job" {
		return false, nil
	}
	return true, p.replace(ctx, it, what, "it is created anew") // one that has ended would not run again
}
