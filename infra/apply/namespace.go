package apply

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// prepareNamespace sees to it that the project's namespace is there and not
// on its way out. A namespace that berth did not make stays as it is.
func (p *Project) prepareNamespace(ctx context.Context, items []*item) error {
	ns, err := p.readNamespace(ctx, p.namespace)
	if err != nil {
		return err
	}
	if ns != nil && ns.DeletionTimestamp != nil {
		if err := p.waitNamespaceGone(ctx, p.namespace); err != nil {
			return err
		}
		ns = nil
	}
	for _, it := range items {
		if it.gk.Kind == "Namespace" && it.key.Name == p.namespace && ns != nil && ns.Labels[model.LabelManagedBy] != model.ManagedBy {
			it.verb = model.Unchanged
		}
	}
	if ns != nil {
		return nil
	}
	i := slices.IndexFunc(items, func(it *item) bool { return it.gk.Kind == "Namespace" && it.key.Name == p.namespace })
	if i < 0 {
		return p.createNamespace(ctx, p.namespace)
	}
	// The inventory lives in it, so it cannot wait for its turn.
	if err := p.render(ctx, items[i]); err != nil {
		return err
	}
	return p.applyOne(ctx, items[i])
}

// readNamespace returns a namespace, nil when there is none.
func (p *Project) readNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	ns, err := kube.Get[corev1.Namespace](ctx, p.client, "", name)
	switch {
	case kube.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, problem.New(fmt.Sprintf("look at namespace %q", name), err, namespaceHint)
	}
	return ns, err
}

// namespaceHint is for users who may not see or make the project's namespace.
const namespaceHint = "ask who runs the cluster to create it and to bind the ClusterRole `edit` in it for you, and the right to get it; --project-name chooses another"

func (p *Project) createNamespace(ctx context.Context, name string) error {
	labels := map[string]string{model.LabelManagedBy: model.ManagedBy}
	if p.name != "" {
		labels[model.LabelProject] = p.name
	}
	m, err := p.client.Manifest(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	if err != nil {
		return err
	}
	if _, err := p.client.Create(ctx, m); err != nil && !apierrors.IsAlreadyExists(err) {
		hint := ""
		if apierrors.IsForbidden(err) {
			hint = namespaceHint
		}
		return problem.New(fmt.Sprintf("create namespace %q", name), err, hint)
	}
	return nil
}

// waitNamespaceGone waits for the end of a namespace that is being deleted
// and says what holds it up.
func (p *Project) waitNamespaceGone(ctx context.Context, name string) error {
	task := progress.Start(p.sink, "namespace "+name, "it is being deleted; waiting until it is gone")
	err := until(ctx, func() (bool, error) {
		ns, err := p.readNamespace(ctx, name)
		if err != nil {
			return false, err
		}
		if ns == nil || ns.DeletionTimestamp == nil {
			return true, nil
		}
		text := "it is being deleted; waiting until it is gone"
		for _, c := range ns.Status.Conditions {
			if c.Status == corev1.ConditionTrue && c.Message != "" {
				text += ": " + c.Message
			}
		}
		task.Update(text)
		return false, nil
	})
	if err != nil {
		err = problem.New(fmt.Sprintf("wait until namespace %q is gone", name), err, fmt.Sprintf("kubectl get namespace %s -o yaml says what holds it up", name))
	}
	return task.End(err, "gone")
}
