package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

// A freezer is a way to a server whose connections can be frozen, as a computer
// finds them that was asleep: they stand, and nothing comes through any more.
type freezer struct {
	listener net.Listener
	open     sync.WaitGroup
	frozen   atomic.Int64 // connections up to this one
	count    atomic.Int64
}

func newFreezer(t *testing.T, server string) *freezer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &freezer{listener: l}
	f.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.carry(ctx, conn, server, f.count.Add(1))
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		f.open.Wait()
	})
	return f
}

// freeze freezes the connections there are.
func (f *freezer) freeze() { f.frozen.Store(f.count.Load()) }

// carry passes bytes on, both ways, until one side ends.
func (f *freezer) carry(ctx context.Context, conn net.Conn, server string, number int64) {
	up, err := net.Dial("tcp", server)
	if err != nil {
		conn.Close()
		return
	}
	for _, way := range [][2]net.Conn{{conn, up}, {up, conn}} {
		stop := context.AfterFunc(ctx, func() { conn.Close(); up.Close() })
		f.open.Go(func() {
			defer stop()
			_, _ = io.Copy(frozenAt{way[1], func() bool { return number <= f.frozen.Load() }}, way[0])
			if number > f.frozen.Load() {
				conn.Close()
				up.Close()
			}
		})
	}
}

type frozenAt struct {
	net.Conn
	frozen func() bool
}

func (c frozenAt) Write(p []byte) (int, error) {
	if c.frozen() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestWatchGoesOnAfterTheComputerWasAsleep freezes the connection of a watch: it
// is found out without anything being sent, and what happened meanwhile is seen.
func TestWatchGoesOnAfterTheComputerWasAsleep(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1") // instead of 30
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")      // instead of 15
	var watches atomic.Int64
	watching := make(chan struct{})
	over, end := context.WithCancel(t.Context())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
			return
		}
		n := watches.Add(1)
		if n > 1 {
			fmt.Fprint(w, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"new","uid":"1","resourceVersion":"2"}}}`)
		}
		w.(http.Flusher).Flush()
		if n == 1 {
			close(watching)
		}
		select {
		case <-r.Context().Done():
		case <-over.Done():
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(end)
	way := newFreezer(t, strings.TrimPrefix(server.URL, "https://"))
	client, err := newClient(&rest.Config{
		Host:            "https://" + way.listener.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{Insecure: true, ServerName: "asleep"}, // a name of its own: transports are shared
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		select {
		case <-watching:
			way.freeze()
		case <-ctx.Done():
		}
	}()
	var broke bool
	err = Watch(ctx, client, "ns", "", func(c Change[*corev1.Pod]) {
		switch {
		case c.Err != nil:
			broke = true
		case c.Object != nil && c.Object.Name == "new":
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !broke {
		t.Errorf("error %v; a broken connection was told: %v", err, broke)
	}
}
