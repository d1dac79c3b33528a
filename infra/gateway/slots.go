package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// slot is one host port of a gateway container and the port inside that it
// leads to.
type slot struct {
	HostIP        string `json:"ip"`
	HostPort      int    `json:"port"`
	Protocol      string `json:"proto"`
	ContainerPort int    `json:"inside"`
	Service       string `json:"service"` // whom it is for
	KubeService   string `json:"kube"`
	Target        int    `json:"target"`
	Random        bool   `json:"random,omitempty"` // the project asks for any host port

	chosen bool // the project leaves the port to us
}

// firstPort is the first port inside a gateway. They need not be the host's:
// two addresses of the host may publish the same port.
const firstPort = 10000

// listener is the host's side of the slot, which no two can share.
func (s slot) listener() string {
	return net.JoinHostPort(s.HostIP, strconv.Itoa(s.HostPort)) + "/" + s.Protocol
}

func (s slot) binding() docker.PortBinding {
	return docker.PortBinding{HostIP: s.HostIP, HostPort: s.HostPort, ContainerPort: s.ContainerPort, Protocol: s.Protocol}
}

// serves reports whether the slot is, by all but the host port, what r asks for.
func (s slot) serves(r Route) bool {
	return s.HostIP == hostIP(r) && s.Protocol == r.Protocol && s.Service == r.Service && s.Target == r.Target
}

func hostIP(r Route) string {
	if r.HostIP == "" {
		return "127.0.0.1"
	}
	return r.HostIP
}

// portRange is the host ports that r may have; any is true for a random one.
func portRange(r Route) (first, last int, any bool) {
	return r.HostPort, max(r.HostPort, r.HostPortEnd), r.HostPort == 0
}

func checkRoutes(routes []Route) error {
	for _, r := range routes {
		what := fmt.Sprintf("publish port %d of service %q", r.Target, r.Service)
		first, last, _ := portRange(r)
		switch {
		case r.Protocol != "tcp" && r.Protocol != "udp":
			return problem.New(what, fmt.Errorf("protocol %q cannot be published", r.Protocol), "use tcp or udp")
		case first < 0 || last > 65535:
			return problem.New(what, fmt.Errorf("%d-%d is not a range of ports", first, last), "use 1 to 65535")
		case r.NodePort < 1 || r.NodePort > 65535:
			return problem.New(what, fmt.Errorf("the Service %q has no NodePort for it", r.KubeService), "run `berth up` again: it makes the Service as the compose file says")
		}
		if _, err := netip.ParseAddr(hostIP(r)); err != nil {
			return problem.New(what, err, "host_ip must be an address of this machine")
		}
	}
	return nil
}

// assign gives every route a slot, in the order of routes. Routes with one
// port come first, then those that had one of theirs before keep it, and the
// rest take the first that is free.
func assign(routes []Route, had []slot, free func(slot) bool) ([]slot, error) {
	slots := make([]slot, len(routes))
	given := map[int]bool{}
	give := func(i int, s slot) bool {
		if slices.ContainsFunc(slots, func(o slot) bool { return o.HostPort != 0 && overlap(o, s) }) {
			return false
		}
		s.ContainerPort = firstPort + i
		slots[i], given[i] = s, true
		return true
	}
	for i, r := range routes {
		first, last, any := portRange(r)
		if any || last != first {
			continue
		}
		s := slotOf(r, first)
		if !give(i, s) {
			other := slots[slices.IndexFunc(slots, func(o slot) bool { return o.HostPort != 0 && overlap(o, s) })]
			return nil, problem.New(fmt.Sprintf("publish %s for service %q", s.listener(), r.Service),
				fmt.Errorf("service %q publishes it too", other.Service), "give one of them another port, or none for a random one")
		}
	}
	for i, r := range routes {
		first, last, any := portRange(r)
		for _, s := range had {
			if !given[i] && s.serves(r) && s.Random == any && (any || (s.HostPort >= first && s.HostPort <= last)) {
				kept := slotOf(r, s.HostPort)
				kept.chosen, kept.Random = true, any
				give(i, kept)
			}
		}
	}
	for i, r := range routes {
		if given[i] {
			continue
		}
		if err := choose(r, func(s slot) bool { return free(s) && give(i, s) }); err != nil {
			return nil, err
		}
	}
	return slots, nil
}

// choose offers take the ports of a range, or some that the system says are
// free, until it takes one.
func choose(r Route, take func(slot) bool) error {
	first, last, any := portRange(r)
	if !any {
		for port := first; port <= last; port++ {
			s := slotOf(r, port)
			s.chosen = true
			if take(s) {
				return nil
			}
		}
		return problem.New(fmt.Sprintf("publish service %q on %s", r.Service, hostIP(r)),
			fmt.Errorf("every port of %d-%d is taken", first, last), "widen the range, or end what holds them")
	}
	for range 20 {
		port, err := freePort(r)
		if err != nil {
			return noFreePort(r, err)
		}
		s := slotOf(r, port)
		s.chosen, s.Random = true, true
		if take(s) {
			return nil
		}
	}
	return noFreePort(r, errors.New("none was left after 20 attempts"))
}

func noFreePort(r Route, err error) error {
	return problem.New(fmt.Sprintf("find a free port on %s for service %q", hostIP(r), r.Service), err,
		"host_ip must be an address of this machine; a port of the host can be named in the compose file (8080:80)")
}

func slotOf(r Route, port int) slot {
	return slot{
		HostIP: hostIP(r), HostPort: port, Protocol: r.Protocol,
		Service: r.Service, KubeService: r.KubeService, Target: r.Target,
	}
}

// overlap reports whether the two cannot both listen.
func overlap(a, b slot) bool {
	if a.HostPort != b.HostPort || a.Protocol != b.Protocol {
		return false
	}
	x, errX := netip.ParseAddr(a.HostIP)
	y, errY := netip.ParseAddr(b.HostIP)
	return errX != nil || errY != nil || x == y || ((x.IsUnspecified() || y.IsUnspecified()) && x.Is4() == y.Is4())
}

// sameListeners reports whether a and b bind the same ports of the host.
func sameListeners(a, b []slot) bool {
	names := func(slots []slot) []string {
		all := make([]string, 0, len(slots))
		for _, s := range slots {
			all = append(all, s.listener())
		}
		sort.Strings(all)
		return all
	}
	return slices.Equal(names(a), names(b))
}

// keepInside gives slots the ports inside that the gateway was made with.
func keepInside(slots, old []slot) {
	inside := map[string]int{}
	for _, s := range old {
		inside[s.listener()] = s.ContainerPort
	}
	for i := range slots {
		slots[i].ContainerPort = inside[slots[i].listener()]
	}
}

// published lists what the routes got.
func published(routes []Route, slots []slot) []model.PublishedPort {
	ports := make([]model.PublishedPort, len(routes))
	for i, r := range routes {
		ports[i] = r.PublishedPort
		ports[i].HostIP, ports[i].HostPort, ports[i].HostPortEnd = slots[i].HostIP, slots[i].HostPort, 0
	}
	return ports
}

func addresses(ports []model.PublishedPort) string {
	const most = 4
	var all []string
	for i, p := range ports {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(ports)-most))
			break
		}
		all = append(all, fmt.Sprintf("%s -> %s:%d", slot{HostIP: p.HostIP, HostPort: p.HostPort, Protocol: p.Protocol}.listener(), p.Service, p.Target))
	}
	return strings.Join(all, ", ")
}

// gatewayOf reads a gateway back from its container's labels and configuration
// file. The file is newer; without it the labels say what it was made with.
func gatewayOf(c docker.Container, file []byte) Gateway {
	g := Gateway{
		Project: c.Labels[model.LabelGateway], Cluster: c.Labels[model.LabelCluster], Name: c.Name,
		Running: c.Running(), created: c.State == "created", since: c.Created, id: c.ID, agent: c.Labels[labelAgent],
	}
	var config configFile
	if json.Unmarshal(file, &config) == nil && len(config.Slots) > 0 {
		g.slots = config.Slots
	} else if json.Unmarshal([]byte(c.Labels[labelSlots]), &g.slots) != nil {
		g.slots = nil // not ours as we know it: made anew, as one without ports is
	}
	for _, s := range g.slots {
		g.Ports = append(g.Ports, model.PublishedPort{
			Service: s.Service, KubeService: s.KubeService, HostIP: s.HostIP, HostPort: s.HostPort, Target: s.Target, Protocol: s.Protocol,
		})
	}
	return g
}
