package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Options are the times a proxy goes by. A zero field takes the default.
type Options struct {
	DialTimeout  time.Duration // for one node to accept a connection, default 400 ms: a lost SYN is repeated after a second
	Patience     time.Duration // for all nodes together, while they refuse, default 3 s
	RetryEvery   time.Duration // between the first two rounds over the nodes, default 50 ms; see longer
	BadFor       time.Duration // how long a silent node is asked last, default 5 s
	ResolveEvery time.Duration // how long a node's address is believed, default 10 s
	UDPIdle      time.Duration // after which a UDP session ends, default 90 s
	UDPSessions  int           // most sessions of one route, default 1024
	Log          func(string)  // one line at a time; default: nothing is said
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.DialTimeout, 400*time.Millisecond)
	def(&o.Patience, 3*time.Second)
	def(&o.RetryEvery, 50*time.Millisecond)
	def(&o.BadFor, 5*time.Second)
	def(&o.ResolveEvery, 10*time.Second)
	def(&o.UDPIdle, 90*time.Second)
	if o.UDPSessions == 0 {
		o.UDPSessions = 1024
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// longer is the pause between two rounds after one of the given length. They
// grow because Linux answers what it cannot route with few errors a second, to
// each sender (a burst of five or so, then one): whoever asks faster learns nothing,
// and a datagram that no error comes back for counts as delivered.
func (o Options) longer(pause time.Duration) time.Duration {
	return min(2*pause, 16*o.RetryEvery)
}

// A Proxy forwards the routes of its latest configuration.
type Proxy struct {
	opts   Options
	nodes  *nodes
	ctx    context.Context // ends with Close; what every connection lives under
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards what follows, and makes Apply and Close take turns
	routes map[string]route
	closed bool
}

// A route is a listener whose target can be changed while it works.
type route interface {
	io.Closer // ends the listener, not what it has accepted
	retarget(nodePort int)
	address() string
}

// New returns a proxy without routes. It lives until Close.
func New(ctx context.Context, opts Options) *Proxy {
	opts = opts.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	return &Proxy{opts: opts, nodes: newNodes(opts, nil), ctx: ctx, cancel: cancel, routes: map[string]route{}}
}

// Apply puts c in force: listeners that stay keep their connections, those
// that are gone are closed (what they accepted lives on), new ones are listening when it returns. When a
// listener cannot be opened it says so and the rest of c is in force.
func (p *Proxy) Apply(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("the proxy is closed")
	}
	p.nodes.set(c.Nodes)
	wanted := map[string]bool{}
	for _, r := range c.Routes {
		wanted[r.key()] = true
	}
	var errs []error
	for key, r := range p.routes {
		if !wanted[key] {
			delete(p.routes, key)
			errs = append(errs, r.Close())
		}
	}
	for _, want := range c.Routes {
		if have, ok := p.routes[want.key()]; ok {
			have.retarget(want.NodePort)
			continue
		}
		r, err := p.open(want)
		if err != nil {
			errs = append(errs, fmt.Errorf("route %s: %w", want.key(), err))
			continue
		}
		p.routes[want.key()] = r
	}
	return errors.Join(errs...)
}

func (p *Proxy) open(r Route) (route, error) {
	if r.Protocol == "udp" {
		return p.openUDP(r)
	}
	return p.openTCP(r)
}

// Address returns where the route of c listens, or "".
func (p *Proxy) Address(r Route) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.routes[r.key()]; ok {
		return have.address()
	}
	return ""
}

// Close ends all listeners, connections and sessions and waits for them.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	var errs []error
	for _, r := range p.routes {
		errs = append(errs, r.Close())
	}
	p.routes = map[string]route{}
	p.mu.Unlock()
	p.cancel()
	p.work.Wait()
	return errors.Join(errs...)
}
