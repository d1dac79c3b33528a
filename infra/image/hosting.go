package image

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/infra/kube"
)

// Where a cluster says which registry it has (KEP-1755).
const (
	hostingNamespace = "kube-public"
	hostingName      = "local-registry-hosting"
	hostingKey       = "localRegistryHosting.v1"
)

// HostedRegistry is the registry that a cluster says it has for images built
// on this machine; found is false when it has none.
func HostedRegistry(ctx context.Context, cluster *kube.Client) (r Registry, found bool, err error) {
	config, err := kube.Get[corev1.ConfigMap](ctx, cluster, hostingNamespace, hostingName)
	if kube.IsNotFound(err) {
		return Registry{}, false, nil
	}
	if err != nil {
		return Registry{}, false, fmt.Errorf("ask the cluster for its registry: %w", err)
	}
	return parseHosting(config.Data[hostingKey])
}

func parseHosting(text string) (Registry, bool, error) {
	var h struct {
		Host                     string `json:"host"`
		HostFromContainerRuntime string `json:"hostFromContainerRuntime"`
	}
	if err := yaml.Unmarshal([]byte(text), &h); err != nil {
		return Registry{}, false, fmt.Errorf("config map %s/%s: %w", hostingNamespace, hostingName, err)
	}
	if h.Host == "" {
		return Registry{}, false, nil
	}
	// The cluster vouches for it, and such registries speak plain HTTP.
	return Registry{Prefix: h.Host, PullPrefix: h.HostFromContainerRuntime, Insecure: isLocal(h.Host)}, true, nil
}
