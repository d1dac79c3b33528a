package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// quick are times that make a test short without changing what is tested.
var quick = Options{DialTimeout: 500 * time.Millisecond, Patience: 2 * time.Second, RetryEvery: 10 * time.Millisecond, BadFor: time.Minute, UDPIdle: time.Minute}

// needLoopback skips where the addresses 127.0.0.2 and up are not there.
func needLoopback(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8, which only Linux has")
	}
}

// backend is a TCP server on one address; every connection goes to serve.
func backend(t testing.TB, address string, serve func(*net.TCPConn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

func say(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = io.WriteString(c, text) }
}

func portOf(a net.Addr) int {
	_, p, _ := net.SplitHostPort(a.String())
	port, _ := strconv.Atoi(p)
	return port
}

func start(t testing.TB, opts Options, c Config) *Proxy {
	t.Helper()
	p := New(context.Background(), opts)
	t.Cleanup(func() { p.Close() })
	if err := p.Apply(c); err != nil {
		t.Fatal(err)
	}
	return p
}

func tcpTo(nodePort int, nodes ...Node) Config {
	return Config{Nodes: nodes, Routes: []Route{{Protocol: "tcp", Listen: "127.0.0.1:0", NodePort: nodePort}}}
}

func dial(t testing.TB, p *Proxy, c Config) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address(c.Routes[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func TestTCPCarriesBytesBothWays(t *testing.T) {
	l := backend(t, "127.0.0.1:0", echo)
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	conn := dial(t, start(t, quick, c), c)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes back, sent %d", len(got), len(sent))
	}
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	l := backend(t, "127.0.0.1:0", func(c *net.TCPConn) { // answers only after the client's end
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	})
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	conn := dial(t, start(t, quick, c), c)
	_, _ = conn.Write([]byte("hello"))
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "5 bytes" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestServerMaySpeakFirstAndEndFirst(t *testing.T) {
	l := backend(t, "127.0.0.1:0", say("welcome"))
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	conn := dial(t, start(t, quick, c), c)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "welcome" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	l := backend(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	})
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	conn := dial(t, start(t, quick, c), c)
	_, _ = conn.Write([]byte("x"))
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset: the client must not take it for an end", err)
	}
}

func TestDeadNodeIsSkippedAndAllNodesAreUsed(t *testing.T) {
	needLoopback(t)
	one := backend(t, "127.0.0.1:0", say("one"))
	port := portOf(one.Addr())
	backend(t, fmt.Sprintf("127.0.0.2:%d", port), say("two"))
	c := tcpTo(port, "127.0.0.1", "127.0.0.2", "127.0.0.3") // nothing listens on the third
	p := start(t, quick, c)
	got := map[string]int{}
	for range 30 {
		text, err := io.ReadAll(dial(t, p, c))
		if err != nil {
			t.Fatal(err)
		}
		got[string(text)]++
	}
	if got["one"]+got["two"] != 30 || got["one"] < 5 || got["two"] < 5 {
		t.Errorf("got %v, want 30 answers from both", got)
	}
}

func TestNodeThatDoesNotAnswerIsAskedLast(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		last bool
	}{
		"silent":      {os.ErrDeadlineExceeded, true},
		"unreachable": {syscall.EHOSTUNREACH, true},
		"refused":     {syscall.ECONNREFUSED, false}, // alive, but nothing is on that port yet
	} {
		t.Run(name, func(t *testing.T) {
			n := newNodes(quick, []Node{"a", "b", "c"})
			b := n.list[1]
			n.failed(b, &net.OpError{Op: "dial", Err: tc.err})
			first := false
			for range 6 {
				first = first || n.order()[0] == b
			}
			if first == tc.last {
				t.Errorf("asked first: %v", first)
			}
			n.answered(b)
			first = false
			for range 6 {
				first = first || n.order()[0] == b
			}
			if !first {
				t.Error("a node that answers again is not asked first any more")
			}
		})
	}
}

func TestBackendThatComesUpLateIsWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	p := start(t, quick, c)
	conn := dial(t, p, c)
	time.AfterFunc(100*time.Millisecond, func() { backend(t, address, say("late")) })
	if got, err := io.ReadAll(conn); err != nil || string(got) != "late" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestClientIsResetWhenNoNodeAccepts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	opts := quick
	opts.Patience = 100 * time.Millisecond
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	conn := dial(t, start(t, opts, c), c)
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestReloadKeepsConnectionsAndMovesNewOnes(t *testing.T) {
	first, second := backend(t, "127.0.0.1:0", echo), backend(t, "127.0.0.1:0", say("second"))
	c := tcpTo(portOf(first.Addr()), "127.0.0.1")
	p := start(t, quick, c)
	conn := dial(t, p, c)
	check := func(text string) {
		t.Helper()
		_, _ = io.WriteString(conn, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
			t.Errorf("the old connection gave %q, %v", got, err)
		}
	}
	check("before")
	next := Config{Nodes: c.Nodes, Routes: []Route{{Protocol: "tcp", Listen: "127.0.0.1:0", NodePort: portOf(second.Addr())}}}
	if err := p.Apply(next); err != nil {
		t.Fatal(err)
	}
	check("after")
	if got, err := io.ReadAll(dial(t, p, next)); err != nil || string(got) != "second" {
		t.Errorf("a new connection gave %q, %v", got, err)
	}
	address := p.Address(c.Routes[0])
	if err := p.Apply(Config{}); err != nil {
		t.Fatal(err)
	}
	check("without a route")
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a route that is gone still accepts")
	}
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	l := backend(t, "127.0.0.1:0", say("ok"))
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	p := start(t, quick, c)
	for name, tc := range map[string]struct {
		config Config
		want   string
	}{
		"protocol":  {Config{Nodes: c.Nodes, Routes: []Route{{Protocol: "sctp", Listen: ":1", NodePort: 1}}}, `"sctp"`},
		"listen":    {Config{Nodes: c.Nodes, Routes: []Route{{Protocol: "tcp", Listen: "1", NodePort: 1}}}, "listen"},
		"node port": {Config{Nodes: c.Nodes, Routes: []Route{{Protocol: "tcp", Listen: ":1", NodePort: 70000}}}, "70000"},
		"twice":     {Config{Nodes: c.Nodes, Routes: []Route{c.Routes[0], c.Routes[0]}}, "twice"},
		"no nodes":  {Config{Routes: c.Routes}, "no nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := p.Apply(tc.config); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to name %s", err, tc.want)
			}
			if got, err := io.ReadAll(dial(t, p, c)); err != nil || string(got) != "ok" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestAThousandConnectionsAtOnce(t *testing.T) {
	const many = 1000
	var open atomic.Int32
	all := make(chan struct{})
	l := backend(t, "127.0.0.1:0", func(c *net.TCPConn) {
		if open.Add(1) == many {
			close(all)
		}
		echo(c)
	})
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	p := start(t, quick, c)
	var clients sync.WaitGroup
	var failed atomic.Int32
	for i := range many {
		clients.Go(func() {
			conn, err := net.Dial("tcp", p.Address(c.Routes[0]))
			if err != nil {
				failed.Add(1)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			<-all // every one is connected before the first speaks
			text := fmt.Sprintf("client %d", i)
			_, _ = io.WriteString(conn, text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
				failed.Add(1)
			}
		})
	}
	clients.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d clients failed", n, many)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	l := backend(t, "127.0.0.1:0", echo)
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	p := start(t, quick, c)
	conn := dial(t, p, c)
	_, _ = conn.Write([]byte("x"))
	_, _ = io.ReadFull(conn, make([]byte, 1))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the proxy")
	}
}
