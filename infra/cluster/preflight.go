package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// What a node takes when nothing runs on the cluster yet, measured with
// Kubernetes 1.36, rounded up.
const (
	controlPlaneMemory = 900 << 20
	workerMemory       = 250 << 20
)

// checkMemory refuses a cluster that the host cannot hold: its nodes would be
// killed one after the other, with no word why.
func checkMemory(s Spec, host docker.Host) error {
	need := int64(s.ControlPlanes)*controlPlaneMemory + int64(*s.Workers)*workerMemory
	have, what := host.Memory, "the engine has"
	if host.FreeMemory != 0 && host.FreeMemory < have {
		have, what = host.FreeMemory, "there are"
	}
	if have == 0 || have >= need {
		return nil
	}
	hint := "end other programs, or give the engine's virtual machine more memory"
	if fit := (have - int64(s.ControlPlanes)*controlPlaneMemory) / workerMemory; fit >= 0 && *s.Workers > 0 {
		hint += fmt.Sprintf(", or use --workers %d", fit)
	}
	return problem.New(fmt.Sprintf("create cluster %q", s.Name),
		fmt.Errorf("its %d nodes need about %d MiB of memory and %s %d MiB", s.ControlPlanes+*s.Workers, need>>20, what, have>>20), hint)
}

// portHolder says who has a TCP port of 127.0.0.1; "" when it is free.
type portHolder func(ctx context.Context, port int) (string, error)

func (m *Manager) portHolder(ctx context.Context, port int) (string, error) {
	return m.engine.PortHolder(ctx, netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// settlePorts fills in the ingress ports. A port the user asked for must be
// free; a default that is not is replaced, and that is said aloud.
func settlePorts(ctx context.Context, s Spec, host docker.Host, holder portHolder, sink progress.Sink) (Spec, error) {
	for _, p := range []struct {
		port               *int
		protocol, flag     string
		standard, fallback int
	}{
		{&s.HTTPPort, "HTTP", "--http-port", DefaultHTTPPort, fallbackHTTPPort},
		{&s.HTTPSPort, "HTTPS", "--https-port", DefaultHTTPSPort, fallbackHTTPSPort},
	} {
		if *p.port != 0 {
			who, err := holder(ctx, *p.port)
			if err != nil {
				return s, err
			}
			if who != "" {
				return s, problem.New(fmt.Sprintf("publish the ingress on 127.0.0.1:%d", *p.port),
					fmt.Errorf("the port is taken by %s", who), "end that program, or choose another port with "+p.flag)
			}
			continue
		}
		var why string
		if host.Rootless && p.standard < 1024 {
			why = "a rootless engine may not listen on it"
		} else if who, err := holder(ctx, p.standard); err != nil {
			return s, err
		} else if who != "" {
			why = "it is taken by " + who
		} else {
			*p.port = p.standard
			continue
		}
		free, err := freePort(ctx, p.fallback, holder)
		if err != nil {
			return s, err
		}
		*p.port = free
		progress.Say(sink, progress.Warn, "cluster "+s.Name, fmt.Sprintf(
			"port %d is not to be had (%s): %s of the ingress is on port %d; %s chooses another",
			p.standard, why, p.protocol, free, p.flag))
	}
	return s, nil
}

// freePort finds a free port from first on.
func freePort(ctx context.Context, first int, holder portHolder) (int, error) {
	const attempts = 50
	for port := first; port < first+attempts; port++ {
		who, err := holder(ctx, port)
		if err != nil {
			return 0, err
		}
		if who == "" {
			return port, nil
		}
	}
	return 0, problem.New("find a port for the ingress", fmt.Errorf("%d to %d are all taken", first, first+attempts-1),
		"choose ports with --http-port and --https-port")
}

// checkMounts refuses directories that are not there: the engine would make
// them, as root.
func checkMounts(s Spec, host docker.Host) error {
	if !host.Local {
		return nil // the engine's machine has them, or not
	}
	for _, m := range s.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return problem.New(fmt.Sprintf("mount %q in the nodes", m.Source), err, "make the directory first, or correct --mount")
		}
	}
	return nil
}
