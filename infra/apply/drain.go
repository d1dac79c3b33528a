package apply

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// Times of taking a pod out of service.
const (
	endpointsEvery  = 10 * time.Millisecond
	endpointsWithin = 5 * time.Second
	// How long ingress controllers may go on using what the endpoints were:
	// berth has its own gather changes for 50 ms. A cluster that is slow to
	// change endpoints is slow to tell of it, too.
	routersLag    = 100 * time.Millisecond
	routersLagMax = time.Second
)

// drainable lists the kubeServices of the project that leave out pods without
// model.LabelServes.
func (p *Project) drainable(ctx context.Context) ([]string, error) {
	services, err := kube.List[corev1.Service](ctx, p.client, p.namespace, "")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range services {
		if _, ok := s.Spec.Selector[model.LabelServes]; ok {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// serve makes pods serve, or takes them out of service.
func (s *swap) serve(ctx context.Context, pods []corev1.Pod, serves bool) error {
	var label any // null removes it
	if serves {
		label = "true"
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{model.LabelServes: label}}})
	if err != nil {
		return err
	}
	return parallel(ctx, len(pods), func(ctx context.Context, i int) error {
		err := s.p.client.Patch(ctx, model.ObjectKey{Kind: "Pod", Namespace: pods[i].Namespace, Name: pods[i].Name}, "", types.MergePatchType, raw)
		if kube.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// awaitEndpoints waits until pods are, or are not, among the endpoints of the
// kubeServices that they can be taken out of, and routers know.
func (s *swap) awaitEndpoints(ctx context.Context, pods []corev1.Pod, serving bool) error {
	begin := time.Now()
	late := begin.Add(endpointsWithin)
	err := s.poll(ctx, func() (bool, error) {
		endpoints, err := kube.List[discoveryv1.EndpointSlice](ctx, s.p.client, s.it.key.Namespace, "")
		if err != nil {
			return false, err
		}
		found := map[string]bool{}
		for _, e := range endpoints {
			if slices.Contains(s.drains, e.Labels[discoveryv1.LabelServiceName]) {
				addServing(found, e)
			}
		}
		for _, pod := range pods {
			if found[pod.Name] != serving && time.Now().Before(late) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return pause(ctx, min(max(routersLag, 2*time.Since(begin)), routersLagMax))
}

// addServing notes the pods of an EndpointSlice that get requests.
func addServing(found map[string]bool, e discoveryv1.EndpointSlice) {
	for _, endpoint := range e.Endpoints {
		if endpoint.TargetRef != nil && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
			found[endpoint.TargetRef.Name] = true
		}
	}
}

// poll asks again and again until it is so.
func (s *swap) poll(ctx context.Context, is func() (bool, error)) error {
	for {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if err := pause(ctx, endpointsEvery); err != nil {
			return err
		}
	}
}

// containerID is the containerd id of a container, without scheme.
func containerID(c corev1.ContainerStatus) string {
	_, id, _ := strings.Cut(c.ContainerID, "://")
	return id
}
