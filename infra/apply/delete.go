package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Delete removes the project from the cluster and returns when its pods are
// gone. Its persistent volumes stay, and the inventory that knows of them;
// with volumes, they and the namespace go too. The namespace stays otherwise,
// because a cluster takes at least five seconds to delete one, and if berth
// did not make it.
func (p *Project) Delete(ctx context.Context, volumes bool) (model.ChangeSet, error) {
	task := progress.Start(p.sink, "remove "+p.title(), "deleting its objects")
	changes, err := p.delete(ctx, volumes, task)
	return changes, task.End(err, "")
}

func (p *Project) title() string {
	if p.name != "" {
		return p.name
	}
	return p.namespace
}

func (p *Project) delete(ctx context.Context, volumes bool, task *progress.Task) (model.ChangeSet, error) {
	ns, err := p.readNamespace(ctx, p.namespace)
	if err != nil || ns == nil {
		return nil, err
	}
	if ns.DeletionTimestamp != nil {
		return nil, p.waitNamespaceGone(ctx, p.namespace)
	}
	members, err := p.members(ctx)
	if err != nil {
		return nil, err
	}
	var doomed []member
	for _, m := range members {
		if volumes || m.key.Kind != "PersistentVolumeClaim" {
			doomed = append(doomed, m)
		}
	}
	changes, err := p.remove(ctx, doomed)
	if err != nil {
		return changes, err
	}
	holder, err := p.deleteHolder(ctx, ns, volumes)
	if err != nil {
		return changes, err
	}
	if err := p.endPods(ctx, p.selector(), task); err != nil || holder == nil {
		return changes, err
	}
	changes = append(changes, model.Change{Key: *holder, Verb: model.Deleted})
	err = until(ctx, func() (bool, error) {
		_, err := p.client.GetAny(ctx, *holder)
		if kube.IsNotFound(err) {
			return true, nil
		}
		task.Update("waiting until " + holder.String() + " is gone")
		return false, err
	})
	if err != nil || !volumes {
		return changes, err
	}
	return changes, p.waitVolumes(ctx, task)
}

// deleteHolder starts the deletion of what holds the project together and
// names it: the namespace, where berth made it and the volumes go too; the
// inventory, when it has nothing more to tell; nil when neither may go.
func (p *Project) deleteHolder(ctx context.Context, ns *corev1.Namespace, volumes bool) (*model.ObjectKey, error) {
	key := p.inventoryKey()
	if volumes && ns.Labels[model.LabelManagedBy] == model.ManagedBy {
		key = model.ObjectKey{Kind: "Namespace", Name: p.namespace}
	} else if !volumes {
		claims, err := kube.List[corev1.PersistentVolumeClaim](ctx, p.client, p.namespace, labelPartOf+"="+p.setID())
		if err != nil || len(claims) > 0 {
			return nil, err
		}
	}
	if err := p.client.Delete(ctx, key, kube.DeleteOptions{}); err != nil {
		return nil, problem.New(fmt.Sprintf("delete %s %q", key.Kind, key.Name), err, "")
	}
	return &key, nil
}

// selector chooses the project's pods.
func (p *Project) selector() string {
	if p.name == "" {
		return ""
	}
	return model.LabelProject + "=" + p.name
}

// lostGrace is how long past its own grace period a pod may take to end
// before berth asks whether its node is still there.
const lostGrace = 3 * time.Second

// endPods deletes the pods that a selector chooses and waits until all are gone. A
// pod of a lost node cannot end by itself: it is removed without waiting for
// the node.
func (p *Project) endPods(ctx context.Context, selector string, task *progress.Task) error {
	asked := map[string]bool{}
	return until(ctx, func() (bool, error) {
		pods, err := kube.List[corev1.Pod](ctx, p.client, p.namespace, selector)
		if err != nil || len(pods) == 0 {
			return err == nil, err
		}
		task.Update(fmt.Sprintf("waiting for %d pods to end", len(pods)))
		for i := range pods {
			pod := &pods[i]
			if pod.DeletionTimestamp == nil && !asked[pod.Name] {
				asked[pod.Name] = true
				err = p.client.Delete(ctx, podKey(pod), kube.DeleteOptions{UID: pod.UID})
			}
			if err = errors.Join(err, p.removeLost(ctx, pod)); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

func podKey(pod *corev1.Pod) model.ObjectKey {
	return model.ObjectKey{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
}

// removeLost removes a pod that should have ended and cannot say so, because its
// node is lost.
func (p *Project) removeLost(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp == nil || time.Since(pod.DeletionTimestamp.Time) <= lostGrace || !p.nodeLost(ctx, pod.Spec.NodeName) {
		return nil
	}
	var now int64
	return p.client.Delete(ctx, podKey(pod), kube.DeleteOptions{UID: pod.UID, Grace: &now})
}

func (p *Project) nodeLost(ctx context.Context, name string) bool {
	if name == "" {
		return false
	}
	node, err := kube.Get[corev1.Node](ctx, p.client, "", name)
	if err != nil {
		return kube.IsNotFound(err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status != corev1.ConditionTrue
		}
	}
	return true
}

// volumesFor is how long Delete waits for the storage of deleted volumes to
// be cleared.
const volumesFor = 30 * time.Second

// waitVolumes waits until the storage behind the namespace's volumes is gone
// as well, where it is given back on deletion.
func (p *Project) waitVolumes(ctx context.Context, task *progress.Task) error {
	deadline := time.Now().Add(volumesFor)
	return until(ctx, func() (bool, error) {
		volumes, err := kube.List[corev1.PersistentVolume](ctx, p.client, "", "")
		if err != nil {
			return false, err
		}
		left := 0
		for _, v := range volumes {
			if v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Namespace == p.namespace && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
				left++
			}
		}
		if left > 0 && time.Now().After(deadline) {
			return false, problem.New(fmt.Sprintf("clear the storage of %d volumes", left), nil, "kubectl get pv shows them; their node may be down")
		}
		if left > 0 {
			task.Update(fmt.Sprintf("waiting until the storage of %d volumes is cleared", left))
		}
		return left == 0, nil
	})
}
