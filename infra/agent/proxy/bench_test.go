package proxy

import (
	"io"
	"net"
	"testing"
)

// BenchmarkThroughput compares a stream through the proxy with a direct one.
func BenchmarkThroughput(b *testing.B) {
	l := backend(b, "127.0.0.1:0", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	proxied := start(b, quick, c).Address(c.Routes[0])
	for name, address := range map[string]string{"direct": l.Addr().String(), "proxy": proxied} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			buf := make([]byte, 256<<10)
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConnection is the cost of a connection with one byte each way.
func BenchmarkConnection(b *testing.B) {
	l := backend(b, "127.0.0.1:0", echo)
	c := tcpTo(portOf(l.Addr()), "127.0.0.1")
	proxied := start(b, quick, c).Address(c.Routes[0])
	for name, address := range map[string]string{"direct": l.Addr().String(), "proxy": proxied} {
		b.Run(name, func(b *testing.B) {
			buf := []byte("x")
			for b.Loop() {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = conn.Write(buf)
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
	}
}
