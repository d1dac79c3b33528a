package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// rank orders kinds: what others need comes first. Objects of one rank are
// applied at the same time.
func rank(gk schema.GroupKind) int {
	switch gk.Kind {
	case "Namespace":
		return 0
	case "CustomResourceDefinition", "PriorityClass", "StorageClass", "IngressClass", "RuntimeClass":
		return 1
	case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Secret", "PersistentVolume",
		"PersistentVolumeClaim", "NetworkPolicy", "Service", "ResourceQuota", "LimitRange":
		return 2
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod":
		return 3
	}
	return 4
}

// item is one object on its way into the cluster.
type item struct {
	object   model.Object
	gk       schema.GroupKind
	key      model.ObjectKey
	manifest *unstructured.Unstructured
	live     *unstructured.Unstructured // as read beforehand; nil when not there
	verb     model.Verb
	hold     hold
}

// hold says whether a workload is kept from running.
type hold int

// What may be held.
const (
	holdNothing hold = iota
	holdChanged      // what is created or updated
	holdAll          // what is as wanted, too
)

// Apply creates and updates objects, which become members of the project:
// namespaces and definitions first, then what workloads need, workloads, and
// the rest; at the same time within one of those, otherwise in the order
// given. An object that is already as wanted is left alone. The change set
// says what was done, in order, also when the error is not nil.
func (p *Project) Apply(ctx context.Context, objects []model.Object) (model.ChangeSet, error) {
	return p.applyHolding(ctx, objects, holdNothing)
}

// Create is Apply, but workloads that it creates or updates have no pods until
// they are started, or applied; with anew neither have those that it would leave
// alone.
func (p *Project) Create(ctx context.Context, objects []model.Object, anew bool) (model.ChangeSet, error) {
	if anew {
		return p.applyHolding(ctx, objects, holdAll)
	}
	return p.applyHolding(ctx, objects, holdChanged)
}

func (p *Project) applyHolding(ctx context.Context, objects []model.Object, h hold) (model.ChangeSet, error) {
	for {
		changes, err := p.apply(ctx, objects, h)
		if !errors.Is(err, errNamespaceEnds) {
			return changes, err
		}
		// All that was applied goes with it, the inventory too.
		p.forget()
		if err := p.waitNamespaceGone(ctx, p.namespace); err != nil {
			return changes, err
		}
	}
}

// errNamespaceEnds is a namespace that was deleted while objects were applied.
var errNamespaceEnds = errors.New("the namespace is being deleted")

func (p *Project) apply(ctx context.Context, objects []model.Object, h hold) (model.ChangeSet, error) {
	items := make([]*item, len(objects))
	for i, o := range objects {
		gk, err := p.client.KindOf(o)
		if err != nil {
			return nil, err
		}
		items[i] = &item{object: o, gk: gk, key: model.ObjectKey{Group: gk.Group, Kind: gk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}}
		if slices.Contains(workloadKinds(), gk) {
			items[i].hold = h
		}
	}
	slices.SortStableFunc(items, func(a, b *item) int { return rank(a.gk) - rank(b.gk) })
	if err := p.prepareNamespace(ctx, items); err != nil {
		return nil, err
	}
	if err := p.recordItems(ctx, items); err != nil {
		return nil, problem.New(fmt.Sprintf("record the inventory of namespace %q", p.namespace), err, "")
	}
	err := p.applyRanks(ctx, items)
	var changes model.ChangeSet
	for _, it := range items {
		if it.verb != "" {
			changes = append(changes, model.Change{Key: it.key, Verb: it.verb})
		}
	}
	return changes, err
}

func (p *Project) recordItems(ctx context.Context, items []*item) error {
	kinds, namespaces := map[schema.GroupKind]bool{}, map[string]bool{}
	for _, it := range items {
		if it.gk.Kind == "Namespace" {
			continue
		}
		kinds[it.gk] = true
		if ns := it.object.GetNamespace(); ns != "" && ns != p.namespace {
			namespaces[ns] = true
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	return p.record(ctx, kinds, namespaces)
}

// applyRanks applies rank after rank and stops after one that failed.
func (p *Project) applyRanks(ctx context.Context, items []*item) error {
	for len(items) > 0 {
		n := 1
		for n < len(items) && rank(items[n].gk) == rank(items[0].gk) {
			n++
		}
		batch := items[:n]
		items = items[n:]
		for _, it := range batch {
			if err := p.render(ctx, it); err != nil {
				return err
			}
		}
		if err := p.readLive(ctx, batch); err != nil {
			return err
		}
		if err := parallel(ctx, len(batch), func(ctx context.Context, i int) error { return p.applyOne(ctx, batch[i]) }); err != nil {
			return err
		}
		if err := p.waitDefinitions(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// render makes the manifest that is sent: the object with namespace, the
// project's mark and the hash.
func (p *Project) render(ctx context.Context, it *item) error {
	m, err := p.client.Manifest(ctx, it.object)
	if err != nil {
		return err
	}
	r, err := p.client.Resource(ctx, it.gk)
	if err != nil {
		return problem.New(fmt.Sprintf("apply %s %q", it.gk.Kind, it.key.Name), err, "the cluster does not know this kind: install its definition first")
	}
	if r.Namespaced && m.GetNamespace() == "" {
		m.SetNamespace(p.namespace)
	}
	it.key.Namespace = m.GetNamespace()
	if it.gk.Kind != "Namespace" {
		labels := m.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[labelPartOf] = p.setID()
		m.SetLabels(labels)
	}
	hash, err := hashOf(m)
	if err != nil {
		return err
	}
	annotations := m.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationHash] = hash
	m.SetAnnotations(annotations)
	it.manifest = m
	return nil
}

// fewObjects is up to how many objects of a kind are read one by one instead
// of by a list of all the project's.
const fewObjects = 3

// readLive finds what the cluster has of the items, with one list for each
// kind and namespace.
func (p *Project) readLive(ctx context.Context, items []*item) error {
	type place struct {
		gk        schema.GroupKind
		namespace string
	}
	groups := map[place][]*item{}
	var order []place
	for _, it := range items {
		at := place{it.gk, it.key.Namespace}
		if groups[at] == nil {
			order = append(order, at)
		}
		groups[at] = append(groups[at], it)
	}
	return parallel(ctx, len(order), func(ctx context.Context, i int) error {
		at := order[i]
		group := groups[at]
		if len(group) <= fewObjects {
			for _, it := range group {
				live, err := p.client.GetAny(ctx, it.key)
				if err != nil && !kube.IsNotFound(err) {
					return err
				}
				if err == nil {
					it.live = live
				}
			}
			return nil
		}
		objects, err := p.client.ListAny(ctx, at.gk, at.namespace, "")
		if err != nil {
			return err
		}
		byName := map[string]*unstructured.Unstructured{}
		for _, o := range objects {
			byName[o.GetName()] = o
		}
		for _, it := range group {
			it.live = byName[it.key.Name]
		}
		return nil
	})
}

// attempts is how often one object is sent while others change it too.
const attempts = 5

// applyOne brings one object into the cluster and notes what that took.
func (p *Project) applyOne(ctx context.Context, it *item) error {
	what := fmt.Sprintf("apply %s %q", it.key.Kind, it.key.Name)
	if it.verb != "" { // the namespace was dealt with before
		return nil
	}
	if it.live != nil && it.key.Kind != "Namespace" && !p.owns(it.live) {
		return problem.New(what, errors.New("the cluster has one already that is not the project's"),
			fmt.Sprintf("rename one of the two, or hand it over: kubectl -n %s label %s %s %s=%s", it.key.Namespace, strings.ToLower(it.key.Kind), it.key.Name, labelPartOf, p.setID()))
	}
	if it.hold != holdNothing {
		if done, err := p.holdBack(ctx, it, what); done || err != nil {
			return err
		}
	}
	if reason := mustReplace(it); reason != "" {
		return p.replace(ctx, it, what, reason)
	}
	if it.hold == holdNothing && upToDate(it.manifest, it.live) {
		it.verb = model.Unchanged
		return nil
	}
	if it.live != nil && it.live.GetDeletionTimestamp() != nil {
		if err := p.waitGone(ctx, it.key, it.live.GetUID(), "is being deleted"); err != nil {
			return problem.New(what, err, "")
		}
	}
	var err error
	for range attempts {
		if err = p.send(ctx, it); err == nil {
			return nil
		}
		switch {
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return errNamespaceEnds
		case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		case apierrors.IsInvalid(err) && it.key.Kind == "Job":
			return p.replace(ctx, it, what, "its definition changed")
		default:
			return problem.New(what, err, cure(it, err))
		}
	}
	return problem.New(what, err, "another program keeps changing it; run the command again")
}

// send applies the manifest and tells from the answer whether that changed
// anything.
func (p *Project) send(ctx context.Context, it *item) error {
	if it.live != nil && it.live.GetAnnotations()[annotationSwapping] != "" {
		if err := p.endSwap(ctx, it); err != nil {
			return err
		}
	}
	now, created, err := p.client.Apply(ctx, it.manifest)
	switch {
	case err != nil:
		return err
	case created:
		it.verb = model.Created
		p.marks.set(it.key, now)
		return nil
	case it.live != nil && now.GetResourceVersion() == it.live.GetResourceVersion():
		it.verb = model.Unchanged
	default:
		it.verb = model.Updated
		p.marks.set(it.key, now)
	}
	if it.hold != holdNothing {
		return nil
	}
	return p.resume(ctx, it, now)
}

// waitDefinitions waits until new kinds can be used.
func (p *Project) waitDefinitions(ctx context.Context, items []*item) error {
	for _, it := range items {
		if it.key.Kind != "CustomResourceDefinition" {
			continue
		}
		err := until(ctx, func() (bool, error) {
			live, err := p.client.GetAny(ctx, it.key)
			if err != nil {
				return false, err
			}
			conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
			for _, c := range conditions {
				if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil {
			return problem.New(fmt.Sprintf("wait for the definition of %q", it.key.Name), err, "")
		}
	}
	return nil
}
