package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-dev/berth/infra/docker"
)

// graphStartup is how long the second engine may take to answer.
const graphStartup = 60 * time.Second

// startGraph starts an engine that keeps its images in a graph driver, beside
// the one that runs the nodes. It has a network namespace of its own, for an
// engine without a bridge removes docker0, and a mount namespace, so that
// nothing of it outlives it. It needs root on Linux; stop ends it.
func startGraph(ctx context.Context, dir string, log io.Writer) (engine *docker.Client, host string, stop func() error, err error) {
	config := filepath.Join(dir, "graph.json")
	if err := os.WriteFile(config, []byte(`{"features": {"containerd-snapshotter": false}}`), 0o600); err != nil {
		return nil, "", nil, err
	}
	socket := filepath.Join(dir, "graph.sock")
	host = "unix://" + socket
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "dockerd", "--config-file", config,
		"--data-root", filepath.Join(dir, "graph-data"), "--exec-root", filepath.Join(dir, "graph-run"), "--pidfile", filepath.Join(dir, "graph.pid"),
		"--host", host, "--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--containerd-namespace", "berth-bench", "--containerd-plugins-namespace", "berth-bench-plugins")
	output, err := os.Create(filepath.Join(dir, "graph.log"))
	if err != nil {
		cancel()
		return nil, "", nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, "", nil, errors.Join(err, output.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() error {
		cancel()
		err := <-ended
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || errors.Is(err, context.Canceled) {
			err = nil // it was told to end
		}
		return errors.Join(err, output.Close())
	}
	if engine, err = awaitEngine(ctx, host, ended); err != nil {
		tail, _ := os.ReadFile(output.Name())
		fmt.Fprintf(log, "%s\n", tail[max(0, len(tail)-2000):])
		return nil, "", nil, errors.Join(fmt.Errorf("start an engine with a graph driver: %w", err), stop())
	}
	return engine, host, stop, nil
}

// awaitEngine asks until the engine answers or its process has ended.
func awaitEngine(ctx context.Context, host string, ended chan error) (*docker.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, graphStartup)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := docker.Connect(ctx, host)
		if err == nil {
			return c, nil
		}
		select {
		case err := <-ended:
			ended <- err // for stop
			return nil, fmt.Errorf("it ended: %w", err)
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}
