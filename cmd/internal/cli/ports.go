package cli

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// publisher publishes the ports of one project through the gateway of a kind
// cluster.
type publisher struct {
	gateway   *gateway.Publisher
	kube      *kube.Client
	project   string
	namespace string
	cluster   string
}

// Publish looks up the NodePort behind every port and hands both to the gateway.
func (p *publisher) Publish(ctx context.Context, ports []model.PublishedPort, sink progress.Sink) ([]model.PublishedPort, error) {
	spec := gateway.Spec{Project: p.project, Cluster: p.cluster}
	services := map[string]*corev1.Service{}
	for _, port := range ports {
		service, known := services[port.KubeService]
		if !known {
			var err error
			if service, err = kube.Get[corev1.Service](ctx, p.kube, p.namespace, port.KubeService); err != nil {
				return nil, err
			}
			services[port.KubeService] = service
		}
		nodePort, err := nodePortOf(service, port)
		if err != nil {
			return nil, err
		}
		spec.Routes = append(spec.Routes, gateway.Route{PublishedPort: port, NodePort: nodePort})
	}
	return p.gateway.Publish(ctx, spec, sink)
}

// nodePortOf is the node port that leads to the target of a published port.
func nodePortOf(service *corev1.Service, port model.PublishedPort) (int, error) {
	for _, p := range service.Spec.Ports {
		if int(p.Port) == port.Target && p.NodePort != 0 && kubeProtocol(port.Protocol) == p.Protocol {
			return int(p.NodePort), nil
		}
	}
	return 0, fmt.Errorf("the Service %q has no node port for %d/%s", service.Name, port.Target, port.Protocol)
}

func kubeProtocol(protocol string) corev1.Protocol {
	if protocol == "udp" {
		return corev1.ProtocolUDP
	}
	return corev1.ProtocolTCP
}
