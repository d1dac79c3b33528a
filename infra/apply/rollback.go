package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// Revision is one earlier or current definition of a service's pods.
type Revision struct {
	Number  int      `json:"revision"`
	Image   string   `json:"image"` // of the first container
	Current bool     `json:"current"`
	Images  []string `json:"-"` // of all containers and volumes, sorted
	patch   []byte   // a JSON patch or strategic merge patch that brings it back
	kind    types.PatchType
}

// of fills in the images of a revision's pods.
func (r Revision) of(pod corev1.PodSpec) Revision {
	named := map[string]bool{}
	addImages(named, pod)
	r.Images = slices.Sorted(maps.Keys(named))
	if len(pod.Containers) > 0 {
		r.Image = pod.Containers[0].Image
	}
	return r
}

// Revisions lists what a service can be rolled back to, newest first.
func (p *Project) Revisions(ctx context.Context, service string) ([]Revision, error) {
	w, err := p.rollbackTarget(ctx, service)
	if err != nil {
		return nil, err
	}
	return p.revisions(ctx, w)
}

// Rollback brings back an earlier definition of a service's pods, until the
// project is applied again: to is a revision's number, 0 for the one before
// the current one. bring sees to it that the nodes have its images. It returns
// the number.
func (p *Project) Rollback(ctx context.Context, service string, to int, bring func(context.Context, []string) error) (int, error) {
	w, err := p.rollbackTarget(ctx, service)
	if err != nil {
		return 0, err
	}
	all, err := p.revisions(ctx, w)
	if err != nil {
		return 0, err
	}
	what := fmt.Sprintf("roll back service %q", service)
	i := slices.IndexFunc(all, func(r Revision) bool { return (to == 0 && !r.Current) || (to != 0 && r.Number == to) })
	switch {
	case i < 0 && to == 0:
		return 0, problem.New(what, nil, "it has no earlier revision")
	case i < 0:
		return 0, problem.New(what, fmt.Errorf("there is no revision %d", to), fmt.Sprintf("berth rollback %s --list", service))
	case all[i].Current:
		return 0, problem.New(what, fmt.Errorf("revision %d is the current one", to), fmt.Sprintf("berth rollback %s --list", service))
	}
	if err := bring(ctx, all[i].Images); err != nil {
		return 0, fmt.Errorf("%s to revision %d: %w", what, all[i].Number, err)
	}
	if err := p.client.Patch(ctx, keyOf(w), "", all[i].kind, all[i].patch); err != nil {
		return 0, problem.New(what, err, "")
	}
	// The next apply must see that the definition is no longer the applied one.
	change := map[string]any{"metadata": map[string]any{"annotations": map[string]any{annotationHash: "rolled-back"}}}
	unpause(w, change)
	return all[i].Number, p.patch(ctx, keyOf(w), change)
}

func (p *Project) rollbackTarget(ctx context.Context, service string) (*unstructured.Unstructured, error) {
	workloads, err := p.workloads(ctx, service)
	if err != nil {
		return nil, err
	}
	if kind := workloads[0].GetKind(); kind == "Job" || kind == "CronJob" {
		return nil, problem.New(fmt.Sprintf("roll back service %q", service), nil, "it is a one-shot service, which has no earlier revision")
	}
	return workloads[0], nil
}

func (p *Project) revisions(ctx context.Context, w *unstructured.Unstructured) ([]Revision, error) {
	var all []Revision
	var err error
	if w.GetKind() == "Deployment" {
		all, err = p.deploymentRevisions(ctx, w)
	} else {
		all, err = p.controllerRevisions(ctx, w)
	}
	slices.SortFunc(all, func(a, b Revision) int { return cmp.Compare(b.Number, a.Number) })
	if len(all) > 0 {
		all[0].Current = true
	}
	return all, err
}

func (p *Project) deploymentRevisions(ctx context.Context, w *unstructured.Unstructured) ([]Revision, error) {
	sets, err := kube.List[appsv1.ReplicaSet](ctx, p.client, p.namespace, model.LabelService+"="+w.GetLabels()[model.LabelService])
	if err != nil {
		return nil, err
	}
	var all []Revision
	for i := range sets {
		rs := &sets[i]
		if !ownedBy(rs, w.GetUID()) {
			continue
		}
		template := rs.Spec.Template.DeepCopy()
		delete(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/template", "value": template}})
		if err != nil {
			return nil, err
		}
		r := Revision{Number: revisionOf(rs), patch: patch, kind: types.JSONPatchType}
		all = append(all, r.of(template.Spec))
	}
	return all, nil
}

func (p *Project) controllerRevisions(ctx context.Context, w *unstructured.Unstructured) ([]Revision, error) {
	list, err := kube.List[appsv1.ControllerRevision](ctx, p.client, p.namespace, model.LabelService+"="+w.GetLabels()[model.LabelService])
	if err != nil {
		return nil, err
	}
	var all []Revision
	for i := range list {
		cr := &list[i]
		if !ownedBy(cr, w.GetUID()) {
			continue
		}
		var data struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := json.Unmarshal(cr.Data.Raw, &data); err != nil {
			return nil, fmt.Errorf("read revision %s: %w", strconv.FormatInt(cr.Revision, 10), err)
		}
		r := Revision{Number: int(cr.Revision), patch: cr.Data.Raw, kind: types.StrategicMergePatchType}
		all = append(all, r.of(data.Spec.Template.Spec))
	}
	return all, nil
}
