package docker

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/docker/docker/api/types/network"
)

// Gateway is the IPv4 address of the host on a network of the engine.
func (c *Client) Gateway(ctx context.Context, name string) (netip.Addr, error) {
	n, err := c.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if err != nil {
		return netip.Addr{}, err
	}
	for _, config := range n.IPAM.Config {
		if a, err := netip.ParseAddr(config.Gateway); err == nil && a.Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network %q has no IPv4 gateway", name)
}
