package apply

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// An Exit is one end of a service's container.
type Exit struct {
	Service string
	Pod     string
	Code    int
	Asked   bool // the pod was being removed: somebody wanted it
}

// Exits tells handle of every container of a service that ends, or has ended
// since a time, until ctx ends.
func (p *Project) Exits(ctx context.Context, since time.Time, handle func(Exit)) error {
	type end struct {
		pod       types.UID
		container string
		at        int64
	}
	seen := map[end]bool{}
	since = since.Truncate(time.Second) // all that Kubernetes' times tell
	return kube.Watch(ctx, p.client, p.namespace, model.LabelService+","+LabelOneOff+"!=True", func(c kube.Change[*corev1.Pod]) {
		if c.Object == nil {
			return
		}
		for _, s := range c.Object.Status.ContainerStatuses {
			ended := lastEnd(s)
			if ended == nil || ended.FinishedAt.Time.Before(since) {
				continue
			}
			key := end{c.Object.UID, s.Name, ended.FinishedAt.Unix()}
			if seen[key] {
				continue
			}
			seen[key] = true
			handle(Exit{
				Service: ServiceOf(c.Object, s.Name), Pod: c.Object.Name, Code: int(ended.ExitCode),
				Asked: c.Object.DeletionTimestamp != nil,
			})
		}
	})
}
