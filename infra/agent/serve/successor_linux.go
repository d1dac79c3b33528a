package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/agent/rootfs"
	"github.com/berth-dev/berth/infra/agent/supervise"
	"github.com/berth-dev/berth/infra/agent/wire"
)

// containerLogs is where the kubelet puts a link for every container when it
// has started it: POD_NAMESPACE_CONTAINER-ID.log.
const containerLogs = "/var/log/containers"

// containerID is the form of the ids that containerd gives to Kubernetes' containers.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Times of waiting for a container.
const (
	lookEvery = 5 * time.Millisecond
	listenFor = 10 * time.Second // a program that takes longer is taken to listen elsewhere now
)

// portsOf lists where the programs in a container's network listen.
func portsOf(id string) (wire.PortsValue, error) {
	pid, err := rootfs.PID(id)
	if err != nil {
		return wire.PortsValue{}, err
	}
	return wire.PortsValue{Ports: slices.Sorted(maps.Keys(supervise.Listening(fmt.Sprint(pid))))}, nil
}

// awaitSuccessor waits for a container of a pod that is not the one before, and
// until its program listens.
func awaitSuccessor(ctx context.Context, logs string, a wire.SuccessorArgs) (wire.SuccessorValue, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var id string
	var since time.Time
	for {
		if id == "" {
			id = successor(logs, a)
			since = time.Now()
		}
		if id != "" {
			pid, err := rootfs.PID(id)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return wire.SuccessorValue{Container: id, Ended: true}, nil
			case err != nil:
				return wire.SuccessorValue{}, err
			}
			now := supervise.Listening(fmt.Sprint(pid))
			deaf := slices.ContainsFunc(a.Ports, func(p int) bool { return !now[p] })
			if !deaf || time.Since(since) > listenFor {
				return wire.SuccessorValue{Container: id}, nil
			}
		}
		select {
		case <-ctx.Done():
			return wire.SuccessorValue{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// successor finds the newest container by its link, "" while that is the one
// before.
func successor(logs string, a wire.SuccessorArgs) string {
	prefix := a.Pod + "_" + a.Namespace + "_" + a.Container + "-"
	links, err := filepath.Glob(filepath.Join(logs, prefix+"*.log"))
	if err != nil {
		return ""
	}
	newest := ""
	var made time.Time
	for _, link := range links {
		id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(link), prefix), ".log")
		if !containerID.MatchString(id) {
			continue // of container "web-metrics" when "web" is asked for
		}
		info, err := os.Lstat(link)
		if err == nil && info.ModTime().After(made) {
			newest, made = id, info.ModTime()
		}
	}
	if newest == a.Not {
		return ""
	}
	return newest
}
