package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	p := &forwarder{client: c, Forward: f}
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
			return err
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
	client *Client
	Forward

	mu      sync.Mutex
	tunnel  httpstream.Connection // nil when there is none
	request int
}

func (p *forwarder) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tunnel != nil {
		p.tunnel.Close()
	}
}

// connect returns the tunnel to the current pod, making one when there is
// none or the last one has ended, and a number for the next pair of streams.
func (p *forwarder) connect(ctx context.Context) (httpstream.Connection, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request++
	if p.tunnel != nil {
		select {
		case <-p.tunnel.CloseChan():
			p.tunnel = nil
		default:
			return p.tunnel, p.request, nil
		}
	}
	pod, err := p.Pod(ctx)
	if err != nil {
		return nil, 0, err
	}
	tunnel, err := p.client.dialPod(p.Namespace, pod)
	if err != nil {
		return nil, 0, fmt.Errorf("connect to pod %q: %w", pod, err)
	}
	p.tunnel = tunnel
	return tunnel, p.request, nil
}

// drop forgets a tunnel that turned out to be of no use.
func (p *forwarder) drop(tunnel httpstream.Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tunnel == tunnel {
		p.tunnel = nil
	}
	tunnel.Close()
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
		var tunnel httpstream.Connection
		var id int
		if tunnel, id, err = p.connect(ctx); err != nil {
			continue
		}
		var data, failure httpstream.Stream
		if data, failure, err = openStreams(tunnel, p.Port, id); err != nil {
			p.drop(tunnel)
			continue
		}
		err = copyBoth(conn, data, failure)
		tunnel.RemoveStreams(data, failure)
		if err != nil {
			p.drop(tunnel) // the pod may be gone; the next connection looks for one
		}
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

func (c *Client) dialPod(namespace, pod string) (httpstream.Connection, error) {
	target := c.rest.Post().AbsPath("/api/v1/namespaces/" + namespace + "/pods/" + pod + "/portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	fallback := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	tunneling, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, c.config)
	if err != nil {
		return nil, err
	}
	tunnel, _, err := portforward.NewFallbackDialerForStreaming(tunneling, fallback, upgradeRefused).Dial(portforward.PortForwardProtocolV1Name)
	return tunnel, err
}
