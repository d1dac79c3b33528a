package proxy

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// udpBackend answers each datagram with answer(datagram), if that is not "",
// and passes what it got to the channel.
func udpBackend(t testing.TB, address string, answer func(string) string) (net.PacketConn, <-chan string) {
	t.Helper()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	got := make(chan string, 100)
	go func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			got <- string(buf[:n])
			if text := answer(string(buf[:n])); text != "" {
				_, _ = c.WriteTo([]byte(text), from)
			}
		}
	}()
	return c, got
}

func silent(string) string { return "" }

func udpTo(nodePort int, nodes ...Node) Config {
	return Config{Nodes: nodes, Routes: []Route{{Protocol: "udp", Listen: "127.0.0.1:0", NodePort: nodePort}}}
}

func udpClient(t testing.TB, p *Proxy, c Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", p.Address(c.Routes[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func receive(t testing.TB, from <-chan string) string {
	t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no datagram within 10 s")
		return ""
	}
}

func TestUDPRepliesFindTheirClient(t *testing.T) {
	l, _ := udpBackend(t, "127.0.0.1:0", func(s string) string { return "re: " + s })
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	p := start(t, quick, c)
	for i := range 20 {
		client := udpClient(t, p, c)
		text := fmt.Sprintf("client %d", i)
		_, _ = client.Write([]byte(text))
		buf := make([]byte, 100)
		n, err := client.Read(buf)
		if err != nil || string(buf[:n]) != "re: "+text {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	if n := p.routes[c.Routes[0].key()].(*udpRoute).sessionCount(); n != 20 {
		t.Errorf("%d sessions, want one a client", n)
	}
}

func TestUDPServiceGetsOnlyWhatClientsSend(t *testing.T) {
	l, got := udpBackend(t, "127.0.0.1:0", silent)
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	p := start(t, quick, c)
	if err := p.Apply(c); err != nil { // nor does a reload send anything
		t.Fatal(err)
	}
	client := udpClient(t, p, c)
	_, _ = client.Write([]byte("one"))
	_, _ = client.Write(nil)
	_, _ = client.Write([]byte("two"))
	for _, want := range []string{"one", "", "two"} {
		if s := receive(t, got); s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
	if len(got) != 0 {
		t.Errorf("%d datagrams more than were sent", len(got))
	}
}

func TestUDPDatagramThatIsRefusedIsSentAgain(t *testing.T) {
	needLoopback(t)
	l, got := udpBackend(t, "127.0.0.2:0", func(s string) string { return "re: " + s })
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1", "127.0.0.2", "127.0.0.3") // only one node listens
	p := start(t, quick, c)
	for i := range 6 {
		client := udpClient(t, p, c)
		text := fmt.Sprintf("%d", i)
		_, _ = client.Write([]byte(text))
		if s := receive(t, got); s != text {
			t.Fatalf("got %q, want %q", s, text)
		}
	}
}

func TestUDPServiceThatComesUpLateGetsTheDatagram(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.LocalAddr().String()
	l.Close()
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	p := start(t, quick, c)
	_, _ = udpClient(t, p, c).Write([]byte("early"))
	time.Sleep(100 * time.Millisecond) // the lateness that is tested
	_, got := udpBackend(t, address, silent)
	if s := receive(t, got); s != "early" {
		t.Errorf("got %q", s)
	}
}

func TestUDPSessionsEndWhenSilent(t *testing.T) {
	l, got := udpBackend(t, "127.0.0.1:0", silent)
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	opts := quick
	opts.UDPIdle = 50 * time.Millisecond
	p := start(t, opts, c)
	client := udpClient(t, p, c)
	_, _ = client.Write([]byte("x"))
	receive(t, got)
	route := p.routes[c.Routes[0].key()].(*udpRoute)
	for deadline := time.Now().Add(10 * time.Second); route.sessionCount() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session never ends")
		}
	}
	_, _ = client.Write([]byte("again"))
	if s := receive(t, got); s != "again" {
		t.Errorf("got %q", s)
	}
}

func TestUDPSessionsAreBounded(t *testing.T) {
	l, got := udpBackend(t, "127.0.0.1:0", silent)
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	opts := quick
	opts.UDPSessions = 5
	p := start(t, opts, c)
	for range 20 {
		_, _ = udpClient(t, p, c).Write([]byte("x"))
		receive(t, got)
	}
	if n := p.routes[c.Routes[0].key()].(*udpRoute).sessionCount(); n > 5 {
		t.Errorf("%d sessions, at most 5 are allowed", n)
	}
}

func TestUDPReloadMovesClients(t *testing.T) {
	first, gotFirst := udpBackend(t, "127.0.0.1:0", silent)
	second, gotSecond := udpBackend(t, "127.0.0.1:0", silent)
	c := udpTo(portOf(first.LocalAddr()), "127.0.0.1")
	p := start(t, quick, c)
	client := udpClient(t, p, c)
	_, _ = client.Write([]byte("1"))
	receive(t, gotFirst)
	if err := p.Apply(udpTo(portOf(second.LocalAddr()), "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write([]byte("2"))
	if s := receive(t, gotSecond); s != "2" {
		t.Errorf("got %q", s)
	}
}

func TestUDPCarriesLargeDatagrams(t *testing.T) {
	l, got := udpBackend(t, "127.0.0.1:0", silent)
	c := udpTo(portOf(l.LocalAddr()), "127.0.0.1")
	p := start(t, quick, c)
	large := strings.Repeat("x", 60000)
	if _, err := udpClient(t, p, c).Write([]byte(large)); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, got); s != large {
		t.Errorf("got %d bytes", len(s))
	}
}
