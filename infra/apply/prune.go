package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// Prune deletes the project's objects that are not in keep, but those of
// keepServices. Volumes and the namespace are never pruned, nor are configs,
// secrets and network policies that a workload needs that stays, configs and
// secrets also when only an earlier revision needs them, for a rollback: but not
// credentials for registries, which leave the cluster when the user says so.
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
	stays := func(m member) bool {
		return kept[m.key] || m.live.GetDeletionTimestamp() != nil || m.key.Kind == "PersistentVolumeClaim" || m.key.Kind == "Namespace" ||
			slices.Contains(keepServices, m.live.GetLabels()[model.LabelService])
	}
	var used *usage // of what stays; read when it is asked for
	var doomed []member
	for _, m := range members {
		if stays(m) {
			continue
		}
		if kind := m.key.Kind; kind == "ConfigMap" || kind == "Secret" || kind == "NetworkPolicy" {
			if used == nil {
				if used, err = p.usageOf(ctx, slices.DeleteFunc(slices.Clone(members), func(m member) bool { return !stays(m) }), kept); err != nil {
					return nil, err
				}
			}
			if used.needs(m) {
				continue
			}
		}
		doomed = append(doomed, m)
	}
	return p.remove(ctx, doomed)
}

// A usage is what the workloads that stay need of objects that belong to no
// single service.
type usage struct {
	now    string              // their pod templates; a name that stands in it, quoted, may be needed
	ever   string              // with earlier ones
	labels []map[string]string // of the pods of those that are not kept by name: the manifests of the others are complete
}

func (u *usage) needs(m member) bool {
	switch m.key.Kind {
	case "ConfigMap", "Secret":
		text := u.ever
		if kind, _, _ := unstructured.NestedString(m.live.Object, "type"); kind == string(corev1.SecretTypeDockerConfigJson) {
			text = u.now
		}
		return strings.Contains(text, strconv.Quote(m.key.Name))
	case "PersistentVolumeClaim":
		return u.claims(m.key.Name)
	case "PersistentVolume":
		claim, _, _ := unstructured.NestedString(m.live.Object, "spec", "claimRef", "name")
		return u.claims(claim)
	}
	chosen := chosenPods(m)
	return len(chosen) > 0 && slices.ContainsFunc(u.labels, func(labels map[string]string) bool { return within(pairs(chosen), pairs(labels)) })
}

// claims reports whether a pod template mounts the volume of a claim.
func (u *usage) claims(claim string) bool {
	return strings.Contains(u.ever, `"claimName":`+strconv.Quote(claim))
}

// pairs is a map as a set of its key=value pairs.
func pairs(m map[string]string) map[string]bool {
	set := map[string]bool{}
	for k, v := range m {
		set[k+"="+v] = true
	}
	return set
}

// usageOf reads the pod templates of members that stay.
func (p *Project) usageOf(ctx context.Context, staying []member, kept map[model.ObjectKey]bool) (*usage, error) {
	u := &usage{}
	var text strings.Builder
	owners := map[types.UID]bool{}
	for _, m := range staying {
		if !slices.Contains(workloadKinds(), m.live.GroupVersionKind().GroupKind()) {
			continue
		}
		template, err := templateOf(m.live)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(template.Spec)
		if err != nil {
			return nil, err
		}
		text.Write(raw)
		if !kept[m.key] {
			u.labels = append(u.labels, template.Labels)
		}
		owners[m.live.GetUID()] = true
	}
	u.now = text.String()
	earlier := func(meta metav1.ObjectMeta) bool {
		owner := metav1.GetControllerOf(&meta)
		return owner != nil && owners[owner.UID]
	}
	sets, err := kube.List[appsv1.ReplicaSet](ctx, p.client, p.namespace, "")
	if err != nil {
		return nil, err
	}
	for _, rs := range sets {
		if earlier(rs.ObjectMeta) {
			raw, err := json.Marshal(rs.Spec.Template.Spec)
			if err != nil {
				return nil, err
			}
			text.Write(raw)
		}
	}
	revisions, err := kube.List[appsv1.ControllerRevision](ctx, p.client, p.namespace, "")
	if err != nil {
		return nil, err
	}
	for _, r := range revisions {
		if earlier(r.ObjectMeta) {
			text.Write(r.Data.Raw)
		}
	}
	u.ever = text.String()
	return u, nil
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
