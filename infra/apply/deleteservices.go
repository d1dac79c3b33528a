package apply

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// DeleteServices removes services of the project and what nothing but them
// needs, and returns when their pods are gone. Their volumes stay, or with
// volumes go where no other service of the cluster uses them.
func (p *Project) DeleteServices(ctx context.Context, services []string, volumes bool) (model.ChangeSet, error) {
	task := progress.Start(p.sink, "remove "+strings.Join(services, ", "), "deleting its objects")
	changes, err := p.deleteServices(ctx, services, volumes, task)
	return changes, task.End(err, "")
}

func (p *Project) deleteServices(ctx context.Context, services []string, volumes bool, task *progress.Task) (model.ChangeSet, error) {
	members, err := p.members(ctx)
	if err != nil {
		return nil, err
	}
	goes := func(m member) bool { return slices.Contains(services, m.live.GetLabels()[model.LabelService]) }
	going, err := p.usageOf(ctx, slices.DeleteFunc(slices.Clone(members), func(m member) bool { return !goes(m) }), nil)
	if err != nil {
		return nil, err
	}
	staying, err := p.usageOf(ctx, slices.DeleteFunc(slices.Clone(members), goes), nil)
	if err != nil {
		return nil, err
	}
	var doomed []member
	for _, m := range members {
		switch shared := m.live.GetLabels()[model.LabelService] == ""; {
		case isStorage(m) && !volumes:
		case goes(m), shared && going.needs(m) && !staying.needs(m):
			doomed = append(doomed, m)
		}
	}
	changes, err := p.remove(ctx, doomed)
	if err != nil {
		return changes, err
	}
	return changes, p.endPods(ctx, model.LabelService+" in ("+strings.Join(services, ",")+"),"+LabelOneOff+"!=True", task)
}

// isStorage reports whether an object holds data of the user.
func isStorage(m member) bool {
	return m.key.Kind == "PersistentVolumeClaim" || m.key.Kind == "PersistentVolume"
}

// chosenPods are the labels of the pods that an object is about, none for an
// object that is about no pods.
func chosenPods(m member) map[string]string {
	path := map[string][]string{"NetworkPolicy": {"spec", "podSelector", "matchLabels"}, "Service": {"spec", "selector"}}[m.key.Kind]
	labels, _, _ := unstructured.NestedStringMap(m.live.Object, path...)
	return labels
}
