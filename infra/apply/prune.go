package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// Prune deletes the project's objects that are not in keep, but those of
// keepServices. Volumes and the namespace are never pruned, nor are the
// configs and secrets that an earlier revision of a kept workload would need
// to be rolled back to.
func (p *Project) Prune(ctx context.Context, keep []model.ObjectKey, keepServices []string) (model.ChangeSet, error) {
	members, err := p.members(ctx)
	if err != nil {
		return nil, err
	}
	kept := map[model.ObjectKey]bool{}
	for _, k := range keep {
		kept[k] = true
		if k.Namespace == "" {
			k.Namespace = p.namespace
			kept[k] = true
		}
	}
	var doomed []member
	history := ""
	for _, m := range members {
		switch {
		case kept[m.key], m.key.Kind == "PersistentVolumeClaim", m.key.Kind == "Namespace", m.live.GetDeletionTimestamp() != nil:
			continue
		case slices.Contains(keepServices, m.live.GetLabels()[model.LabelService]):
			continue
		case m.key.Kind == "ConfigMap" || m.key.Kind == "Secret":
			if history == "" {
				if history, err = p.history(ctx, kept); err != nil {
					return nil, err
				}
			}
			if strings.Contains(history, strconv.Quote(m.key.Name)) {
				continue
			}
		}
		doomed = append(doomed, m)
	}
	return p.remove(ctx, doomed)
}

// history is the text of all earlier pod templates of workloads that stay. A
// name that stands in it, quoted, may be needed.
func (p *Project) history(ctx context.Context, kept map[model.ObjectKey]bool) (string, error) {
	ofKept := func(meta metav1.ObjectMeta) bool {
		owner := metav1.GetControllerOf(&meta)
		return owner != nil && kept[model.ObjectKey{Group: "apps", Kind: owner.Kind, Namespace: p.namespace, Name: owner.Name}]
	}
	var text strings.Builder
	text.WriteString("history ") // never empty, so that it is read once
	sets, err := kube.List[appsv1.ReplicaSet](ctx, p.client, p.namespace, "")
	if err != nil {
		return "", err
	}
	for _, rs := range sets {
		if ofKept(rs.ObjectMeta) {
			raw, err := json.Marshal(rs.Spec.Template.Spec)
			if err != nil {
				return "", err
			}
			text.Write(raw)
		}
	}
	revisions, err := kube.List[appsv1.ControllerRevision](ctx, p.client, p.namespace, "")
	if err != nil {
		return "", err
	}
	for _, r := range revisions {
		if ofKept(r.ObjectMeta) {
			text.Write(r.Data.Raw)
		}
	}
	return text.String(), nil
}

// remove starts the deletion of members: workloads and what leads to them
// first, then what they use.
func (p *Project) remove(ctx context.Context, doomed []member) (model.ChangeSet, error) {
	slices.SortStableFunc(doomed, func(a, b member) int {
		return rank(b.live.GroupVersionKind().GroupKind()) - rank(a.live.GroupVersionKind().GroupKind())
	})
	deleted := make([]bool, len(doomed))
	err := parallel(ctx, len(doomed), func(ctx context.Context, i int) error {
		m := doomed[i]
		if err := p.client.Delete(ctx, m.key, kube.DeleteOptions{UID: m.live.GetUID()}); err != nil {
			return problem.New(fmt.Sprintf("delete %s %q", m.key.Kind, m.key.Name), err, "")
		}
		deleted[i] = true
		return nil
	})
	var changes model.ChangeSet
	for i, m := range doomed {
		if deleted[i] {
			changes = append(changes, model.Change{Key: m.key, Verb: model.Deleted})
		}
	}
	return changes, err
}
