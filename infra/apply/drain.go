package apply

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	// undrainWithin bounds what is done for drained pods when a swap is given up.
	undrainWithin = 10 * time.Second
)

// drainable lists the kubeServices that select pods with these labels, and leave
// them out without model.LabelServes.
func (p *Project) drainable(ctx context.Context, pod labels.Set) ([]string, error) {
	services, err := kube.List[corev1.Service](ctx, p.client, p.namespace, "")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range services {
		if _, ok := s.Spec.Selector[model.LabelServes]; ok && labels.SelectorFromSet(s.Spec.Selector).Matches(pod) {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// annotationPatient is on an IngressClass whose controller tries a request again
// for a while when no container listens for it.
const annotationPatient = "berth.dev/patient"

// patientlyServed reports whether a compose service is reached through an ingress
// that waits for containers which start again in place.
func (p *Project) patientlyServed(ctx context.Context, service string) (bool, error) {
	ingresses, err := kube.List[networkingv1.Ingress](ctx, p.client, p.namespace, model.LabelService+"="+service)
	if err != nil || len(ingresses) == 0 || ingresses[0].Spec.IngressClassName == nil {
		return false, err
	}
	class, err := kube.Get[networkingv1.IngressClass](ctx, p.client, "", *ingresses[0].Spec.IngressClassName)
	if kube.IsNotFound(err) {
		return false, nil
	}
	return err == nil && class.Annotations[annotationPatient] == "true", err
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

// swapDrained swaps pods while they are out of service and routers know.
func (s *swap) swapDrained(ctx context.Context, pods []corev1.Pod) (err error) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undrainWithin)
		defer cancel()
		err = errors.Join(err, s.serve(ctx, pods, true))
	}()
	if err := s.serve(ctx, pods, false); err != nil {
		return err
	}
	begin := time.Now()
	if err := s.awaitEndpoints(ctx, pods, false); err != nil {
		return err
	}
	if err := pause(ctx, min(max(routersLag, 2*time.Since(begin)), routersLagMax)); err != nil {
		return err
	}
	return s.swapAll(ctx, pods)
}

// awaitEndpoints waits until pods are, or are not, among the endpoints of the
// kubeServices that they can be taken out of.
func (s *swap) awaitEndpoints(ctx context.Context, pods []corev1.Pod, serving bool) error {
	late := time.Now().Add(endpointsWithin)
	return s.poll(ctx, func() (bool, error) {
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
