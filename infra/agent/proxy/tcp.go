package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// tcpRoute is one TCP listener.
type tcpRoute struct {
	proxy    *Proxy
	listener net.Listener
	nodePort atomic.Int32
}

func (p *Proxy) openTCP(r Route) (route, error) {
	l, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return nil, err
	}
	t := &tcpRoute{proxy: p, listener: l}
	t.retarget(r.NodePort)
	p.work.Go(t.accept)
	return t, nil
}

func (t *tcpRoute) retarget(nodePort int) { t.nodePort.Store(int32(nodePort)) }
func (t *tcpRoute) address() string       { return t.listener.Addr().String() }
func (t *tcpRoute) Close() error          { return t.listener.Close() }

// accept serves the listener until it is closed. An error of one connection,
// or a lack of descriptors, ends nothing but that connection.
func (t *tcpRoute) accept() {
	for {
		c, err := t.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.proxy.opts.Log("accept: " + err.Error())
			select {
			case <-t.proxy.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		default:
			t.proxy.work.Go(func() { t.serve(c.(*net.TCPConn)) })
		}
	}
}

// serve connects client to a node and copies both ways. A client for which
// there is no node is reset: it must not take silence for an empty answer.
func (t *tcpRoute) serve(client *net.TCPConn) {
	node, err := t.proxy.nodes.dialTCP(t.proxy.ctx, int(t.nodePort.Load()))
	if err != nil {
		reset(client)
		return
	}
	stop := context.AfterFunc(t.proxy.ctx, func() {
		reset(client)
		reset(node)
	})
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		forward(node, client)
	}()
	forward(client, node)
	<-done
	client.Close()
	node.Close()
}

// forward copies from src to dst until src ends, and passes the end on. Both
// being TCP, the kernel moves the bytes. A broken connection breaks the other.
func forward(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil {
		reset(src)
		reset(dst)
		return
	}
	// The peer may be gone already, which the other direction finds out.
	_ = dst.CloseWrite()
}

// reset closes c so that its peer sees an error and not an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
