package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Forward is one listener that leads to a port of a pod.
type Forward struct {
	Listener  net.Listener // Forward closes it
	Namespace string
	Port      int // of the pod

	// Pod chooses the pod for the next connection to the cluster; it is asked
	// again whenever that connection is lost.
	Pod func(ctx context.Context) (string, error)

	// Lost is told, once for each, of connections that could not be served.
	Lost func(error)
}

// PortForward accepts connections until ctx ends and carries each to the pod.
// It outlives the pod: the next connection goes to the pod that Pod names
// then.
func (c *Client) PortForward(ctx context.Context, f Forward) error {
	p := newForwarder(f, c.dialPod)
	defer p.close()
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() {
		f.Listener.Close()
		p.close() // ends what is being carried, whatever the pod does
	})
	for {
		conn, err := f.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			if err := sleep(ctx, acceptAgain); err != nil { // too many open files, for a moment
				return err
			}
			continue
		}
		conns.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			if err := p.serve(ctx, conn); err != nil && ctx.Err() == nil && f.Lost != nil {
				f.Lost(err)
			}
		})
	}
}

type forwarder struct {
	Forward
	turn chan struct{} // held by who makes a tunnel
	dial func(ctx context.Context, namespace, pod string) (httpstream.Connection, error)

	mu      sync.Mutex
	tunnel  *tunnel          // for the next connection, nil when there is none
	open    map[*tunnel]bool // that one, and those with connections that began before
	request int
}

func newForwarder(f Forward, dial func(ctx context.Context, namespace, pod string) (httpstream.Connection, error)) *forwarder {
	return &forwarder{Forward: f, turn: make(chan struct{}, 1), dial: dial, open: map[*tunnel]bool{}}
}

// A tunnel carries any number of connections to one pod.
type tunnel struct {
	httpstream.Connection
	users   int
	dropped bool // takes no more connections and ends with its last one
}

func (p *forwarder) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := range p.open {
		t.Close()
	}
}

// connect returns the tunnel to the current pod, making one when there is
// none or the last one has ended, and a number for the next pair of streams.
// release ends its use.
func (p *forwarder) connect(ctx context.Context) (*tunnel, int, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if t, id := p.current(); t != nil {
		return t, id, nil
	}
	pod, err := p.Pod(ctx)
	if err != nil {
		return nil, 0, err
	}
	made, err := p.dial(ctx, p.Namespace, pod)
	if err != nil {
		return nil, 0, fmt.Errorf("connect to pod %q: %w", pod, err)
	}
	p.mu.Lock()
	p.tunnel = &tunnel{Connection: made}
	p.open[p.tunnel] = true
	p.mu.Unlock()
	if ctx.Err() != nil { // close may have found nothing yet
		p.close()
		return nil, 0, ctx.Err()
	}
	t, id := p.current()
	if t == nil {
		return nil, 0, fmt.Errorf("connect to pod %q: the connection ended at once", pod)
	}
	return t, id, nil
}

// current is the tunnel there is, with one user more; nil when there is none.
func (p *forwarder) current() (*tunnel, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request++
	if p.tunnel == nil {
		return nil, 0
	}
	select {
	case <-p.tunnel.CloseChan():
		delete(p.open, p.tunnel)
		p.tunnel = nil
		return nil, 0
	default:
		p.tunnel.users++
		return p.tunnel, p.request
	}
}

// release ends one use of a tunnel. One that turned out to be of no use to it is
// forgotten, and closed when the other connections that it carries have ended.
func (p *forwarder) release(t *tunnel, useless bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.users--
	t.dropped = t.dropped || useless
	if t.dropped && p.tunnel == t {
		p.tunnel = nil
	}
	if t.dropped && t.users == 0 {
		delete(p.open, t)
		t.Close()
	}
}

// serve carries one accepted connection. A tunnel that has died unnoticed is
// replaced once or twice before that is an error.
func (p *forwarder) serve(ctx context.Context, conn net.Conn) error {
	var err error
	for attempt := range 5 {
		if attempt > 0 {
			if err := sleep(ctx, time.Duration(attempt)*300*time.Millisecond); err != nil {
				return err
			}
		}
		var t *tunnel
		var id int
		if t, id, err = p.connect(ctx); err != nil {
			continue
		}
		var data, failure httpstream.Stream
		if data, failure, err = openStreams(t, p.Port, id); err != nil {
			p.release(t, true)
			continue
		}
		err = copyBoth(conn, data, failure)
		t.RemoveStreams(data, failure)
		p.release(t, err != nil) // the pod may be gone; the next connection looks for one
		return err
	}
	return err
}

func openStreams(tunnel httpstream.Connection, port, id int) (data, failure httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if failure, err = tunnel.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	if err := failure.Close(); err != nil { // we only read from it
		return nil, nil, err
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	if data, err = tunnel.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	return data, failure, nil
}

// copyBoth carries bytes both ways until either side has ended, and returns
// what the kubelet reported.
func copyBoth(conn net.Conn, data, failure httpstream.Stream) error {
	reported := make(chan error, 1)
	go func() {
		message, err := io.ReadAll(failure)
		if err == nil && len(message) > 0 {
			err = errors.New(string(message))
		}
		reported <- err
	}()
	fromPod := make(chan struct{})
	go func() {
		defer close(fromPod)
		_, _ = io.Copy(conn, data) // an end of either side is the end of the connection, not an error
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	toPod := make(chan struct{})
	go func() {
		defer close(toPod)
		_, _ = io.Copy(data, conn)
		_ = data.Close()
	}()
	// The client may stop sending and still read, so the pod's side decides.
	var err error
	told := false
	select {
	case <-fromPod:
	case err = <-reported:
		told = true
		if err == nil {
			<-fromPod
		}
	}
	conn.Close()
	_ = data.Reset()
	if !told { // the end of the data may overtake the reason for it
		err = <-reported
	}
	<-toPod
	<-fromPod
	return err
}

// dialWithin bounds how long the API server may take to lead to a pod.
const dialWithin = 20 * time.Second

// acceptAgain is how long a listener that refused is left alone.
const acceptAgain = 50 * time.Millisecond

func (c *Client) dialPod(ctx context.Context, namespace, pod string) (httpstream.Connection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialWithin, fmt.Errorf("the API server did not answer within %s", dialWithin))
	defer cancel()
	dialing := &dialing{ctx: ctx}
	config := rest.CopyConfig(c.config)
	config.Wrap(dialing.wrap)
	target := c.rest.Post().AbsPath("/api/v1/namespaces/" + namespace + "/pods/" + pod + "/portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	fallback := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	tunneling, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		return nil, err
	}
	made, _, err := portforward.NewFallbackDialerForStreaming(tunneling, fallback, upgradeRefused).Dial(portforward.PortForwardProtocolV1Name)
	if err == nil && !dialing.done() { // ctx has just ended, and the connection with it
		_ = made.Close()
		return nil, context.Cause(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return made, err
}

// dialing gives the requests of dialers that take no context one, until they
// have led somewhere.
type dialing struct {
	ctx context.Context

	mu    sync.Mutex
	stops []func() bool
}

type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func (d *dialing) wrap(next http.RoundTripper) http.RoundTripper {
	return tripper(func(r *http.Request) (*http.Response, error) {
		// The WebSocket client heeds the end of a context while it connects, and
		// only its deadline while it waits for the answer.
		trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.stops = append(d.stops, context.AfterFunc(d.ctx, func() { _ = got.Conn.Close() }))
		}}
		return next.RoundTrip(r.WithContext(httptrace.WithClientTrace(d.ctx, trace)))
	})
}

// done lets go of the connections. It reports false when one was closed before.
func (d *dialing) done() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := true
	for _, stop := range d.stops {
		all = stop() && all
	}
	return all
}
