package apply

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// The ApplySet vocabulary (KEP-3659). The parent is a ConfigMap in the
// project's namespace; every member carries its id.
const (
	labelSetID       = "applyset.kubernetes.io/id"
	labelPartOf      = "applyset.kubernetes.io/part-of"
	annotationTool   = "applyset.kubernetes.io/tooling"
	annotationKinds  = "applyset.kubernetes.io/contains-group-kinds"
	annotationSpaces = "applyset.kubernetes.io/additional-namespaces"
	inventoryName    = "berth-applyset"
	tooling          = "berth/v1"
)

// setID is the ApplySet's id, by the rule of the KEP.
func (p *Project) setID() string {
	sum := sha256.Sum256([]byte(inventoryName + "." + p.namespace + ".ConfigMap."))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

func (p *Project) inventoryKey() model.ObjectKey {
	return model.ObjectKey{Kind: "ConfigMap", Namespace: p.namespace, Name: inventoryName}
}

// record notes on the inventory that the project has members of these kinds
// and namespaces, before the first of them is made: whatever happens then,
// prune and delete will find them.
func (p *Project) record(ctx context.Context, kinds map[schema.GroupKind]bool, namespaces map[string]bool) error {
	p.inventory.Lock()
	defer p.inventory.Unlock()
	for {
		if p.inventory.kinds != nil && within(kinds, p.inventory.kinds) && within(namespaces, p.inventory.namespaces) {
			return nil
		}
		live, err := p.readInventory(ctx)
		if err != nil {
			return err
		}
		if live != nil && within(kinds, p.inventory.kinds) && within(namespaces, p.inventory.namespaces) {
			return nil
		}
		maps.Copy(p.inventory.kinds, kinds)
		maps.Copy(p.inventory.namespaces, namespaces)
		err = p.writeInventory(ctx, live)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			p.inventory.kinds = nil // another berth was quicker: read what it wrote
			continue
		}
		if err != nil {
			p.inventory.kinds = nil
		}
		return err
	}
}

// forget drops what is remembered of the inventory.
func (p *Project) forget() {
	p.inventory.Lock()
	defer p.inventory.Unlock()
	p.inventory.kinds = nil
}

// owns reports whether an object is the project's: a member, or made of its
// manifests by other means.
func (p *Project) owns(live *unstructured.Unstructured) bool {
	labels := live.GetLabels()
	return labels[labelPartOf] == p.setID() || p.name != "" && labels[model.LabelProject] == p.name
}

func within[K comparable](part, whole map[K]bool) bool {
	for k := range part {
		if !whole[k] {
			return false
		}
	}
	return true
}

// readInventory fills the cache from the cluster and returns the inventory
// object, nil when there is none.
func (p *Project) readInventory(ctx context.Context) (*unstructured.Unstructured, error) {
	p.inventory.kinds, p.inventory.namespaces = map[schema.GroupKind]bool{}, map[string]bool{}
	live, err := p.client.GetAny(ctx, p.inventoryKey())
	if kube.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if other := live.GetLabels()[model.LabelProject]; p.name != "" && other != "" && other != p.name {
		return nil, problem.New(fmt.Sprintf("use namespace %q for project %q", p.namespace, p.name), fmt.Errorf("project %q is in it", other),
			"give one of the two another name: --project-name, or name: in the compose file")
	}
	for _, s := range split(live.GetAnnotations()[annotationKinds]) {
		p.inventory.kinds[schema.ParseGroupKind(s)] = true
	}
	for _, s := range split(live.GetAnnotations()[annotationSpaces]) {
		p.inventory.namespaces[s] = true
	}
	return live, nil
}

func (p *Project) writeInventory(ctx context.Context, live *unstructured.Unstructured) error {
	kinds := make([]string, 0, len(p.inventory.kinds))
	for gk := range p.inventory.kinds {
		kinds = append(kinds, gk.String())
	}
	slices.Sort(kinds)
	labels := map[string]any{labelSetID: p.setID(), model.LabelManagedBy: model.ManagedBy}
	if p.name != "" {
		labels[model.LabelProject] = p.name
	}
	metadata := map[string]any{
		"name": inventoryName, "namespace": p.namespace, "labels": labels,
		"annotations": map[string]any{
			annotationTool:   tooling,
			annotationKinds:  strings.Join(kinds, ","),
			annotationSpaces: strings.Join(slices.Sorted(maps.Keys(p.inventory.namespaces)), ","),
		},
	}
	parent := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}}
	if live == nil {
		_, err := p.client.Create(ctx, parent)
		return err
	}
	metadata["resourceVersion"] = live.GetResourceVersion() // two berths must not overwrite each other
	_, _, err := p.client.Apply(ctx, parent)
	return err
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// member is one object of the project as it is in the cluster.
type member struct {
	key  model.ObjectKey
	live *unstructured.Unstructured
}

// members reads everything the inventory says the project has.
func (p *Project) members(ctx context.Context) ([]member, error) {
	p.inventory.Lock()
	_, err := p.readInventory(ctx)
	kinds := slices.SortedFunc(maps.Keys(p.inventory.kinds), func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	namespaces := slices.Sorted(maps.Keys(p.inventory.namespaces))
	p.inventory.kinds = nil
	p.inventory.Unlock()
	if err != nil {
		return nil, err
	}
	namespaces = append([]string{p.namespace}, namespaces...)
	perKind := make([][]member, len(kinds))
	err = parallel(ctx, len(kinds), func(ctx context.Context, i int) error {
		var err error
		perKind[i], err = p.membersOf(ctx, kinds[i], namespaces)
		return err
	})
	return slices.Concat(perKind...), err
}

func (p *Project) membersOf(ctx context.Context, gk schema.GroupKind, namespaces []string) ([]member, error) {
	r, err := p.client.Resource(ctx, gk)
	if err != nil {
		var unknown *meta.NoKindMatchError
		if errors.As(err, &unknown) {
			return nil, nil // its definition is gone, and its objects with it
		}
		return nil, err
	}
	if !r.Namespaced {
		namespaces = []string{""}
	}
	var members []member
	for _, ns := range namespaces {
		objects, err := p.client.ListAny(ctx, gk, ns, labelPartOf+"="+p.setID())
		if err != nil && !kube.IsNotFound(err) {
			return nil, err
		}
		for _, o := range objects {
			members = append(members, member{keyOf(o), o})
		}
	}
	return members, nil
}

// Members names the project's objects in the cluster.
func (p *Project) Members(ctx context.Context) ([]model.ObjectKey, error) {
	members, err := p.members(ctx)
	keys := make([]model.ObjectKey, len(members))
	for i, m := range members {
		keys[i] = m.key
	}
	return keys, err
}

func keyOf(u *unstructured.Unstructured) model.ObjectKey {
	gvk := u.GroupVersionKind()
	return model.ObjectKey{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}
