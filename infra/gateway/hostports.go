package gateway

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// free reports whether nothing holds the slot's port, as far as can be told from here.
func (p *Publisher) free(ctx context.Context, s slot) bool {
	if !p.local {
		return true
	}
	return canListen(ctx, s)
}

func canListen(ctx context.Context, s slot) bool {
	address := net.JoinHostPort(s.HostIP, strconv.Itoa(s.HostPort))
	var lc net.ListenConfig
	if s.Protocol == "udp" {
		c, err := lc.ListenPacket(ctx, "udp", address)
		if err == nil {
			_ = c.Close()
		}
		return !addressInUse(err)
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err == nil {
		_ = l.Close()
	}
	return !addressInUse(err)
}

// freePort asks the system for a port that nothing holds on the route's address.
func freePort(r Route) (int, error) {
	ip, err := netip.ParseAddr(hostIP(r))
	if err != nil {
		return 0, err
	}
	if r.Protocol == "udp" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
		if err != nil {
			return 0, err
		}
		return c.LocalAddr().(*net.UDPAddr).Port, c.Close()
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// addressInUse reports whether err says that somebody listens there. Other
// errors (no right to bind the port, no such address here) are the engine's to judge.
func addressInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
