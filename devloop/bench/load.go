package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// perSecond is how many requests go through the ingress during rebuilds.
const perSecond = 60

// A load is a steady stream of requests through the cluster's ingress.
type load struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	log     io.Writer

	mu           sync.Mutex
	sent, failed int
}

// startLoad begins to ask for a host.
func (b *bench) startLoad(ctx context.Context, host string) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, log: b.log}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	url := fmt.Sprintf("http://127.0.0.1:%d/layer", b.httpPort)
	l.running.Go(func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.running.Go(func() { l.request(ctx, client, url, host) })
			}
		}
	})
	return l
}

func (l *load) request(ctx context.Context, client *http.Client, url, host string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	req.Host = host
	resp, err := client.Do(req)
	if ctx.Err() != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return
	}
	why := ""
	if err != nil {
		why = err.Error()
	} else {
		_, copyErr := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			why = resp.Status
		} else if copyErr != nil {
			why = copyErr.Error()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if why != "" {
		l.failed++
		fmt.Fprintln(l.log, "a request through the ingress failed:", why)
	}
}

// stop ends the stream and says how it went.
func (l *load) stop() (sent, failed int) {
	l.cancel()
	l.running.Wait()
	return l.sent, l.failed
}
