package kube

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
)

// deafServer accepts connections and never says a word.
func deafServer(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
		for len(conns) > 0 {
			(<-conns).Close()
		}
	})
	return l.Addr().String(), conns
}

func TestForwardEndsWhileTheServerIsDeaf(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			address, accepted := deafServer(t)
			client, err := newClient(&rest.Config{Host: scheme + "://" + address, TLSClientConfig: rest.TLSClientConfig{Insecure: scheme == "https"}}, "test")
			if err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				ended <- client.PortForward(ctx, Forward{Listener: listener, Namespace: "ns", Port: 80,
					Pod: func(context.Context) (string, error) { return "web", nil }})
			}()
			for range 2 { // the second waits for the first
				c, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			select {
			case c := <-accepted:
				defer c.Close()
			case <-time.After(10 * time.Second):
				t.Fatal("the server was not asked")
			}
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			case <-time.After(5 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

// fakeConnection is a tunnel's connection that only knows whether it is closed.
type fakeConnection struct {
	httpstream.Connection
	closed chan bool
}

func (f *fakeConnection) CloseChan() <-chan bool { return f.closed }

func (f *fakeConnection) Close() error {
	close(f.closed)
	return nil
}

func (f *fakeConnection) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

func TestOneBrokenConnectionLeavesTheOthersOfItsTunnel(t *testing.T) {
	var made []*fakeConnection
	p := newForwarder(Forward{Pod: func(context.Context) (string, error) { return "web", nil }},
		func(context.Context, string, string) (httpstream.Connection, error) {
			made = append(made, &fakeConnection{closed: make(chan bool)})
			return made[len(made)-1], nil
		})
	use := func() *tunnel {
		t.Helper()
		tunnel, _, err := p.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tunnel
	}
	download, broken := use(), use()
	if len(made) != 1 {
		t.Fatalf("%d tunnels for two connections", len(made))
	}
	p.release(broken, true)
	if made[0].isClosed() {
		t.Error("the other connection was cut")
	}
	next := use()
	if len(made) != 2 || next.Connection != httpstream.Connection(made[1]) {
		t.Error("the next connection does not look for a pod")
	}
	if len(p.open) != 2 {
		t.Errorf("%d tunnels end with the forwarding", len(p.open))
	}
	p.release(download, false)
	if !made[0].isClosed() {
		t.Error("the tunnel is left open after its last connection")
	}
	p.release(next, false)
	if made[1].isClosed() {
		t.Error("a good tunnel was closed")
	}
	p.close()
}
