package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
)

// A Machine is where the checks of the machine get their facts.
type Machine struct {
	// Host describes the engine's host; its error says why there is no engine.
	Host func(ctx context.Context) (docker.Host, error)
	// PortHolder says who listens on a port of 127.0.0.1, "" for nobody.
	PortHolder func(ctx context.Context, port int) (string, error)
	// OwnPorts are the host ports that the cluster has itself.
	OwnPorts []int
	// StandIns lists the names of stand-in base images in the engine.
	StandIns func(ctx context.Context) ([]string, error)
	// NodeImage says which node image a new cluster would get and whether the
	// engine holds it already.
	NodeImage func(ctx context.Context) (name string, held bool, err error)
	Lookup    func(ctx context.Context, host string) ([]netip.Addr, error)
	ReadFile  func(path string) ([]byte, error)
	FreeDisk  func(path string) (bytes uint64, err error)
	LookPath  func(program string) (string, error)
}

// Checks lists the checks of the machine.
func (m Machine) Checks() []Check {
	host := func(check func(docker.Host) Finding) func(context.Context) Finding {
		return func(ctx context.Context) Finding {
			h, err := m.Host(ctx)
			if err != nil {
				return skip("there is no engine to ask")
			}
			return check(h)
		}
	}
	return []Check{
		{"engine", m.engine},
		{"docker command", m.dockerCommand},
		{"engine API", host(engineAPI)},
		{"image store", host(imageStore)},
		{"BuildKit", host(buildKit)},
		{"cgroup version", host(cgroups)},
		{"capabilities", host(capabilities)},
		{"memory", host(memory)},
		{"disk", host(m.disk)},
		{"inotify limits", host(m.inotify)},
		{"port 80", m.port(80, "--http-port 8080")},
		{"port 443", m.port(443, "--https-port 8443")},
		{"*.localhost", m.localhost},
		{"node image", m.nodeImage},
		{"base images", m.baseImages},
	}
}

func (m Machine) engine(ctx context.Context) Finding {
	h, err := m.Host(ctx)
	if err != nil {
		cure := problem.Hint(err)
		if cure == "" {
			cure = "start Docker"
		}
		return block(cure, "%v", err)
	}
	where := "in a virtual machine or elsewhere"
	if h.Local {
		where = "on this machine"
	}
	if h.Rootless {
		return warn("use an engine that runs as root, or prepare this one as kind asks (https://kind.sigs.k8s.io/docs/user/rootless) and give ports from 1024 on: berth cluster create --http-port 8080 --https-port 8443; berth is not tested there",
			"Docker %s, rootless, %s", h.Version, where)
	}
	return ok("Docker %s (%s), %s", h.Version, h.Architecture, where)
}

// dockerCommand: kind drives its nodes through the command.
func (m Machine) dockerCommand(context.Context) Finding {
	path, err := m.LookPath("docker")
	if err != nil {
		return block("install the docker command-line client (Debian and Ubuntu: docker-cli or docker.io)", "%v", errOf(err))
	}
	return ok("%s", path)
}

func errOf(err error) string {
	var e *exec.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s: %v", e.Name, e.Err)
	}
	return err.Error()
}

// oldestAPI is the API version of Docker 20.10, which kind asks for.
const oldestAPI = "1.41"

func engineAPI(h docker.Host) Finding {
	if versionLess(h.API, oldestAPI) {
		return block("use Docker 20.10 or newer", "the engine speaks API %s; kind needs %s", h.API, oldestAPI)
	}
	return ok("%s", h.API)
}

// versionLess compares two versions of the form 1.41.
func versionLess(a, b string) bool {
	parse := func(v string) (parts []int) {
		for part := range strings.SplitSeq(v, ".") {
			n, _ := strconv.Atoi(part)
			parts = append(parts, n)
		}
		return parts
	}
	return slices.Compare(parse(a), parse(b)) < 0
}

func imageStore(h docker.Host) Finding {
	if !h.Snapshotter {
		return warn(`set "features": {"containerd-snapshotter": true} in the engine's daemon.json`,
			"classic image store: loading an image into the nodes has to pack its layers first")
	}
	return ok("containerd")
}

func buildKit(h docker.Host) Finding {
	if !h.BuildKit {
		return warn("use Docker 23 or newer, or install buildx",
			"not the engine's default: builds without it have no cache mounts, secrets or ssh")
	}
	return ok("built into the engine")
}

func cgroups(h docker.Host) Finding {
	if h.CgroupV1 {
		return warn("boot with systemd.unified_cgroup_hierarchy=1; until then berth sets failCgroupV1: false",
			"version 1, which Kubernetes is leaving behind")
	}
	return ok("version 2")
}

func capabilities(h docker.Host) Finding {
	if !h.SysResource {
		return warn("none is needed with the offline kit's node image; kind's own node image may not start here",
			"containers cannot get CAP_SYS_RESOURCE: kubelets run with KubeletInUserNamespace")
	}
	return ok("containers can get all that nodes need")
}

// What the default cluster and a small project take.
const (
	leastMemory  = 1500 << 20
	enoughMemory = 4 << 30
	leastDisk    = 5 << 30
	enoughDisk   = 15 << 30
)

func memory(h docker.Host) Finding {
	have := h.Memory
	if h.FreeMemory != 0 {
		have = h.FreeMemory
	}
	text := fmt.Sprintf("%d MiB can be used, of %d MiB", have>>20, h.Memory>>20)
	switch {
	case have < leastMemory:
		return block("end other programs, or give the engine's virtual machine more memory", "%s; the default cluster needs about %d", text, leastMemory>>20)
	case have < enoughMemory:
		return warn("berth cluster create --workers 1, or end other programs", "%s; a project of some size wants %d", text, enoughMemory>>20)
	}
	return ok("%s", text)
}

func (m Machine) disk(h docker.Host) Finding {
	if !h.Local {
		return skip("the engine's disk cannot be seen from here")
	}
	free, err := m.FreeDisk(h.StorageRoot)
	if err != nil {
		return skip("%v", err)
	}
	text := fmt.Sprintf("%d GiB free at %s", free>>30, h.StorageRoot)
	switch {
	case free < leastDisk:
		return block(docker.FreeSpace, "%s; a cluster and its images need %d", text, leastDisk>>30)
	case free < enoughDisk:
		return warn(docker.FreeSpace, "%s", text)
	}
	return ok("%s", text)
}

// Every node runs a systemd and a kubelet, each of which watches many files;
// kind's documents ask for the same numbers.
const (
	enoughInstances = 512
	enoughWatches   = 524288
)

func (m Machine) inotify(h docker.Host) Finding {
	if !h.Local {
		return skip("the engine's kernel cannot be seen from here")
	}
	instances, err1 := m.readNumber("/proc/sys/fs/inotify/max_user_instances")
	watches, err2 := m.readNumber("/proc/sys/fs/inotify/max_user_watches")
	if err1 != nil || err2 != nil {
		return skip("the kernel does not tell")
	}
	text := fmt.Sprintf("%d instances, %d watches", instances, watches)
	if instances < enoughInstances || watches < enoughWatches {
		return warn(fmt.Sprintf("sysctl fs.inotify.max_user_instances=%d fs.inotify.max_user_watches=%d", enoughInstances, enoughWatches),
			"%s: enough for a few nodes; \"too many open files\" in a node means that they are used up", text)
	}
	return ok("%s", text)
}

func (m Machine) readNumber(path string) (int, error) {
	text, err := m.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (m Machine) port(port int, flag string) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		if slices.Contains(m.OwnPorts, port) {
			return ok("held by the cluster's ingress")
		}
		who, err := m.PortHolder(ctx, port)
		if err != nil {
			return skip("%v", errOf(err))
		}
		if who != "" {
			return warn("end that program, or choose another port: berth cluster create "+flag, "taken by %s: a new cluster's ingress gets another port", who)
		}
		return ok("free")
	}
}

func (m Machine) localhost(ctx context.Context) Finding {
	const name = "web.project.localhost"
	addresses, err := m.Lookup(ctx, name)
	if err == nil && slices.ContainsFunc(addresses, netip.Addr.IsLoopback) {
		return ok("%s is this machine", name)
	}
	return warn("install libnss-myhostname or systemd-resolved, or send the name as a header: curl -H 'Host: "+name+"' http://127.0.0.1",
		"the system's resolver does not know %s; browsers and curl do without it, other programs do not", name)
}

func (m Machine) nodeImage(ctx context.Context) Finding {
	name, held, err := m.NodeImage(ctx)
	if err != nil {
		return skip("%v", err)
	}
	if !held {
		return warn("nothing, where a registry can be reached; otherwise `berth offline build`", "%s is not in the engine: it is pulled when a cluster is created", name)
	}
	return ok("%s is in the engine", name)
}

func (m Machine) baseImages(ctx context.Context) Finding {
	names, err := m.StandIns(ctx)
	if err != nil {
		return skip("%v", err)
	}
	if len(names) == 0 {
		return ok("no stand-ins: base images come from their registries")
	}
	const shown = 6
	text := strings.Join(names[:min(shown, len(names))], ", ")
	if len(names) > shown {
		text += ", ..."
	}
	return warn("docker pull the real ones where a registry can be reached",
		"%d are stand-ins of the offline kit, made from Debian packages: %s", len(names), text)
}
