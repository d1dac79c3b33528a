package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
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
	published, err := p.gateway.Publish(ctx, spec, sink)
	if err != nil {
		return published, err
	}
	return published, p.balance(ctx, services, published)
}

// balance gives Services of type LoadBalancer the address that the gateway
// gives them, as the controller of a cloud does: in their status.
func (p *publisher) balance(ctx context.Context, services map[string]*corev1.Service, ports []model.PublishedPort) error {
	for name, service := range services {
		if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		var ingress []corev1.LoadBalancerIngress
		for _, port := range ports {
			if port.KubeService == name {
				ingress = addAddress(ingress, port)
			}
		}
		if reflect.DeepEqual(ingress, service.Status.LoadBalancer.Ingress) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": corev1.LoadBalancerStatus{Ingress: ingress}}})
		if err != nil {
			return err
		}
		key := model.ObjectKey{Kind: "Service", Namespace: p.namespace, Name: name}
		if err := p.kube.Patch(ctx, key, "status", types.MergePatchType, patch); err != nil {
			return problem.New(fmt.Sprintf("give Service %q its address", name), err, "run `berth up` again; the ports are published")
		}
	}
	return nil
}

// addAddress adds a published port to the addresses of a load balancer. A
// loopback address, which no other machine could use, is called by its name.
func addAddress(all []corev1.LoadBalancerIngress, port model.PublishedPort) []corev1.LoadBalancerIngress {
	entry := corev1.LoadBalancerIngress{IP: port.HostIP}
	if ip := net.ParseIP(port.HostIP); ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		entry = corev1.LoadBalancerIngress{Hostname: "localhost"}
	}
	at := slices.IndexFunc(all, func(x corev1.LoadBalancerIngress) bool { return x.IP == entry.IP && x.Hostname == entry.Hostname })
	if at < 0 {
		all, at = append(all, entry), len(all)
	}
	all[at].Ports = append(all[at].Ports, corev1.PortStatus{Port: int32(port.HostPort), Protocol: kubeProtocol(port.Protocol)})
	return all
}

// nodePortOf is the node port that leads to the target of a published port.
func nodePortOf(service *corev1.Service, port model.PublishedPort) (int, error) {
	for _, p := range service.Spec.Ports {
		if int(p.Port) == port.Target && p.NodePort != 0 && kubeProtocol(port.Protocol) == p.Protocol {
			return int(p.NodePort), nil
		}
	}
	return 0, problem.New(fmt.Sprintf("publish port %d/%s of service %q", port.Target, port.Protocol, port.Service),
		fmt.Errorf("the Service %q has no node port for it", service.Name), "run `berth up` again: it makes the Service as the compose file says")
}

func kubeProtocol(protocol string) corev1.Protocol {
	if protocol == "udp" {
		return corev1.ProtocolUDP
	}
	return corev1.ProtocolTCP
}
