package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// nodes balances over the machines of a cluster. A node that does not answer
// at all is asked last for a while, and its name is resolved anew: a node has
// another address after a restart.
type nodes struct {
	opts Options

	mu    sync.Mutex
	list  []*node
	start int // where the next round begins
}

type node struct {
	name     string
	addr     netip.Addr // the zero value: not resolved
	resolved time.Time
	badUntil time.Time
}

func newNodes(opts Options, names []Node) *nodes {
	n := &nodes{opts: opts}
	n.set(names)
	return n
}

// set replaces the nodes and keeps what is known of those that stay.
func (n *nodes) set(names []Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := map[string]*node{}
	for _, x := range n.list {
		known[x.name] = x
	}
	list := make([]*node, 0, len(names))
	for _, name := range names {
		x := known[string(name)]
		if x == nil {
			x = &node{name: string(name)}
		}
		list = append(list, x)
	}
	n.list = list
}

// order lists the nodes for one attempt, starting with another one each time,
// those that lately did not answer at the end.
func (n *nodes) order() []*node {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) == 0 {
		return nil
	}
	n.start = (n.start + 1) % len(n.list)
	now := time.Now()
	good, bad := make([]*node, 0, len(n.list)), []*node(nil)
	for i := range n.list {
		x := n.list[(n.start+i)%len(n.list)]
		if now.Before(x.badUntil) {
			bad = append(bad, x)
		} else {
			good = append(good, x)
		}
	}
	return append(good, bad...)
}

// address returns where x listens on port, from memory when that is recent.
func (n *nodes) address(ctx context.Context, x *node, port int) (string, error) {
	n.mu.Lock()
	addr, fresh := x.addr, time.Since(x.resolved) < n.opts.ResolveEvery
	n.mu.Unlock()
	if !addr.IsValid() || !fresh {
		found, err := resolve(ctx, x.name)
		if err != nil {
			return "", err
		}
		addr = found
		n.mu.Lock()
		x.addr, x.resolved = addr, time.Now()
		n.mu.Unlock()
	}
	return net.JoinHostPort(addr.String(), strconv.Itoa(port)), nil
}

func resolve(ctx context.Context, name string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range found { // Docker's networks speak IPv4 everywhere, IPv6 at times
		if a.Unmap().Is4() {
			return a.Unmap(), nil
		}
	}
	return found[0], nil
}

// answered notes that x is alive.
func (n *nodes) answered(x *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x.badUntil = time.Time{}
}

// failed notes that x could not be reached. One that refuses is alive and only
// has nothing on that port yet, so it keeps its place.
func (n *nodes) failed(x *node, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x.addr = netip.Addr{}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		x.badUntil = time.Now().Add(n.opts.BadFor)
	}
}

// dialTCP connects to port of the first node that accepts. While all refuse it
// goes on asking for Patience: a Service that has just become ready reaches
// the nodes' rules a moment later, and a pod may be on its way back.
func (n *nodes) dialTCP(ctx context.Context, port int) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.opts.Patience)
	defer cancel()
	dialer := net.Dialer{Timeout: n.opts.DialTimeout}
	var last error
	for pause := n.opts.RetryEvery; ; pause = n.opts.longer(pause) {
		for _, x := range n.order() {
			conn, err := n.dialNode(ctx, dialer, x, port)
			if err == nil {
				return conn, nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return nil, last
		case <-time.After(pause):
		}
	}
}

func (n *nodes) dialNode(ctx context.Context, dialer net.Dialer, x *node, port int) (*net.TCPConn, error) {
	addr, err := n.address(ctx, x, port)
	if err == nil {
		var c net.Conn
		if c, err = dialer.DialContext(ctx, "tcp", addr); err == nil {
			n.answered(x)
			return c.(*net.TCPConn), nil
		}
	}
	if ctx.Err() == nil {
		n.failed(x, err)
	}
	return nil, err
}
