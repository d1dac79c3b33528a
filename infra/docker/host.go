package docker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/build"
)

// A Host is what is known of the machine the engine runs on.
type Host struct {
	EngineID     string
	Time         time.Time // the engine's clock, which is the containers'
	Local        bool      // this very machine: its /proc and sockets say something about the engine
	Rootless     bool
	CgroupV1     bool
	CPUs         int
	Memory       int64  // bytes
	FreeMemory   int64  // bytes that programs can still get; 0 where it is not known
	SysResource  bool   // containers can get CAP_SYS_RESOURCE
	StorageRoot  string // where the engine keeps images and volumes, as it names it
	Architecture string
	Version      string // of the engine
	API          string // version of the API both sides agreed on
	BuildKit     bool   // the engine's default builder
	Snapshotter  bool   // images are kept in containerd's store, as in current Docker
}

// HostFacts asks the engine and, where that is this machine, the kernel.
func (c *Client) HostFacts(ctx context.Context) (Host, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return Host{}, fmt.Errorf("ask the Docker Engine about its host: %w", err)
	}
	h := Host{
		EngineID: info.ID, Local: c.Local(), CgroupV1: info.CgroupVersion == "1", CPUs: info.NCPU, Memory: info.MemTotal,
		SysResource: true, StorageRoot: info.DockerRootDir, Architecture: info.Architecture,
		Version: info.ServerVersion, API: c.APIVersion(),
		Rootless: slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.Contains(o, "name=rootless") }),
	}
	ping, err := c.api.Ping(ctx)
	if err != nil {
		return Host{}, fmt.Errorf("ask the Docker Engine about its builder: %w", err)
	}
	if h.Time, err = time.Parse(time.RFC3339Nano, info.SystemTime); err != nil {
		return Host{}, fmt.Errorf("the engine's clock: %w", err)
	}
	h.BuildKit = ping.BuilderVersion == build.BuilderBuildKit
	if h.Snapshotter, err = c.ContainerdStore(ctx); err != nil {
		return Host{}, err
	}
	if !h.Local {
		return h, nil
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		h.FreeMemory = availableMemory(string(text))
	}
	if text, err := os.ReadFile("/proc/self/status"); err == nil {
		h.SysResource = hasSysResource(string(text))
	}
	return h, nil
}

// availableMemory reads MemAvailable of /proc/meminfo, in bytes; 0 when it is
// not there.
func availableMemory(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// hasSysResource reads the capability bounding set in /proc/self/status. What
// it lacks no container of an engine on this machine can have.
func hasSysResource(status string) bool {
	const capSysResource = 24
	for line := range strings.Lines(status) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "CapBnd:" {
			set, err := strconv.ParseUint(f[1], 16, 64)
			return err != nil || set&(1<<capSysResource) != 0
		}
	}
	return true
}

// Local reports whether the engine runs on this very machine. Docker Desktop
// and Colima keep the engine in a virtual machine and are not local.
func (c *Client) Local() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	path, ok := strings.CutPrefix(c.Host(), "unix://")
	if !ok || strings.Contains(path, "/.docker/desktop/") || strings.Contains(path, "/.colima/") {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}
