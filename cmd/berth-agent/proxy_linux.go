package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/berth-dev/berth/infra/agent/proxy"
)

// runProxy forwards what the configuration file says, and reads it again on
// SIGHUP. Each time it prints a proxy.Status line.
func runProxy(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "configuration file (JSON)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var saying sync.Mutex
	say := func(s proxy.Status) {
		saying.Lock()
		defer saying.Unlock()
		// Nobody may read the log; forwarding goes on all the same.
		_ = json.NewEncoder(stdout).Encode(s)
	}
	p := proxy.New(ctx, proxy.Options{Log: func(line string) { say(proxy.Status{Note: line}) }})
	for {
		say(load(p, *file))
		select {
		case <-hangups:
		case <-ctx.Done():
			if err := p.Close(); err != nil {
				fmt.Fprintln(stderr, "berth-agent:", err)
				return 1
			}
			return 0
		}
	}
}

// load puts the file's configuration in force and says how that went. An
// unreadable one leaves the proxy as it is.
func load(p *proxy.Proxy, file string) proxy.Status {
	config, err := proxy.Read(file)
	if err == nil {
		err = p.Apply(config)
	}
	status := proxy.Status{Generation: config.Generation, Ready: err == nil}
	if err != nil {
		status.Error = err.Error()
	}
	return status
}
