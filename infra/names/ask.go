package names

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/kube"
)

// serial asks one server which version of the zone it has, over DNS (TCP)
// through the API server: the cluster's addresses lead nowhere on the host.
func (r *Resolver) serial(ctx context.Context, pod string) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var forwarding sync.WaitGroup
	defer forwarding.Wait()
	defer cancel()
	forwarding.Go(func() {
		// That it ends is seen by the question, which gets no answer.
		_ = r.client.PortForward(ctx, kube.Forward{
			Listener: listener, Namespace: system, Port: 53,
			Pod: func(context.Context) (string, error) { return pod, nil },
		})
	})
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
	texts, err := resolver.LookupTXT(ctx, serialName+".")
	if err != nil {
		return 0, err
	}
	if len(texts) != 1 {
		return 0, fmt.Errorf("%d answers", len(texts))
	}
	n, err := strconv.ParseUint(texts[0], 10, 32)
	return uint32(n), err
}
