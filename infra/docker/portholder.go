package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
)

// PortHolder says who listens on a TCP port of this host, in words for a
// message: `container "web"`, `nginx (pid 812)`, `another program`. It is ""
// when the port is free on ip. For an engine on another machine only its own
// containers are known.
func (c *Client) PortHolder(ctx context.Context, ip netip.Addr, port int) (string, error) {
	return c.portHolder(ctx, "tcp", ip, port)
}

// UDPPortHolder is PortHolder for a UDP port.
func (c *Client) UDPPortHolder(ctx context.Context, ip netip.Addr, port int) (string, error) {
	return c.portHolder(ctx, "udp", ip, port)
}

func (c *Client) portHolder(ctx context.Context, protocol string, ip netip.Addr, port int) (string, error) {
	list, err := c.api.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list containers: %w", err)
	}
	for _, s := range list {
		for _, p := range s.Ports {
			if int(p.PublicPort) == port && p.Type == protocol && sameListener(p.IP, ip) {
				return fmt.Sprintf("container %q", containerOf(s).Name), nil
			}
		}
	}
	if !c.Local() || !listening(ctx, protocol, ip, port) {
		return "", nil
	}
	if process := portProcess(protocol, ip, port); process != "" {
		return process, nil
	}
	return "another program", nil
}

// sameListener reports whether a listener on bound takes connections to ip.
func sameListener(bound string, ip netip.Addr) bool {
	b, err := netip.ParseAddr(bound)
	return err != nil || b.IsUnspecified() || ip.IsUnspecified() || b == ip
}

// listening reports whether the port is taken: it cannot be bound, or, where
// binding is not for this user, something accepts connections.
func listening(ctx context.Context, protocol string, ip netip.Addr, port int) bool {
	address := net.JoinHostPort(ip.String(), strconv.Itoa(port))
	var lc net.ListenConfig
	if protocol == "udp" {
		l, err := lc.ListenPacket(ctx, "udp", address)
		if err == nil {
			_ = l.Close()
		}
		return errors.Is(err, syscall.EADDRINUSE)
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err == nil {
		_ = l.Close()
		return false
	}
	if !errors.Is(err, syscall.EACCES) {
		return true
	}
	d := net.Dialer{Timeout: 300 * time.Millisecond}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
