// Command nodeserver stands for a cluster's node in tests: it listens on the
// TCP and UDP ports it is given as if a Service's NodePorts led there, and says
// which node it is. A datagram it does not expect ends it, as it may end the
// services of users.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

func main() {
	name, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	for _, port := range os.Args[1:] {
		go tcp(name, port)
		go udp(name, port)
	}
	select {}
}

func tcp(name, port string) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		panic(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer c.Close()
			fmt.Fprintf(c, "%s:%s\n", name, port)
			_, _ = io.Copy(c, c)
		}()
	}
}

func udp(name, port string) {
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 65535)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			panic(err)
		}
		text := string(buf[:n])
		if !strings.HasPrefix(text, "hello") {
			os.Exit(0)
		}
		_, _ = c.WriteTo([]byte(name+":"+port+" "+text), from)
	}
}
