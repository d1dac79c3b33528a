package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func route(service, hostIP string, first, last, target int, protocol string) Route {
	return Route{NodePort: 30000 + target, PublishedPort: model.PublishedPort{
		Service: service, KubeService: service, HostIP: hostIP, HostPort: first, HostPortEnd: last, Target: target, Protocol: protocol,
	}}
}

// listeners prints what assign gave out; random ports are checked by their
// shape alone.
func listeners(slots []slot) string {
	var all []string
	for _, s := range slots {
		all = append(all, fmt.Sprintf("%s=%d", s.listener(), s.ContainerPort))
	}
	return strings.Join(all, " ")
}

func TestAssign(t *testing.T) {
	had := []slot{{HostIP: "127.0.0.1", HostPort: 40001, Protocol: "tcp", Service: "web", Target: 80, ContainerPort: 10007, Random: true}}
	for name, tc := range map[string]struct {
		routes []Route
		had    []slot
		taken  []int
		want   string // or the error
	}{
		"fixed ports keep their order": {
			routes: []Route{route("b", "", 8081, 0, 80, "tcp"), route("a", "0.0.0.0", 8080, 8080, 80, "tcp")},
			want:   "127.0.0.1:8081/tcp=10000 0.0.0.0:8080/tcp=10001",
		},
		"tcp and udp share a port": {
			routes: []Route{route("dns", "", 53, 0, 53, "tcp"), route("dns", "", 53, 0, 53, "udp")},
			want:   "127.0.0.1:53/tcp=10000 127.0.0.1:53/udp=10001",
		},
		"two addresses share a port": {
			routes: []Route{route("a", "127.0.0.1", 80, 0, 80, "tcp"), route("b", "127.0.0.2", 80, 0, 80, "tcp"), route("c", "::1", 80, 0, 80, "tcp")},
			want:   "127.0.0.1:80/tcp=10000 127.0.0.2:80/tcp=10001 [::1]:80/tcp=10002",
		},
		"twice the same is an error that names both": {
			routes: []Route{route("a", "", 80, 0, 80, "tcp"), route("b", "", 80, 0, 8080, "tcp")},
			want:   `publish 127.0.0.1:80/tcp for service "b": service "a" publishes it too`,
		},
		"all addresses overlap with one": {
			routes: []Route{route("a", "0.0.0.0", 80, 0, 80, "tcp"), route("b", "", 80, 0, 8080, "tcp")},
			want:   `publish 127.0.0.1:80/tcp for service "b": service "a" publishes it too`,
		},
		"a range takes the first that is free": {
			routes: []Route{route("a", "", 8000, 8003, 80, "tcp")}, taken: []int{8000, 8001},
			want: "127.0.0.1:8002/tcp=10000",
		},
		"a range leaves fixed ports alone": {
			routes: []Route{route("a", "", 8000, 8003, 80, "tcp"), route("b", "", 8000, 0, 80, "tcp")},
			want:   "127.0.0.1:8001/tcp=10000 127.0.0.1:8000/tcp=10001",
		},
		"two services share a range": {
			routes: []Route{route("a", "", 8000, 8001, 80, "tcp"), route("b", "", 8000, 8001, 80, "tcp")},
			want:   "127.0.0.1:8000/tcp=10000 127.0.0.1:8001/tcp=10001",
		},
		"a range without a free port": {
			routes: []Route{route("a", "", 8000, 8001, 80, "tcp")}, taken: []int{8000, 8001},
			want: `publish service "a" on 127.0.0.1: every port of 8000-8001 is taken`,
		},
		"a random port stays the same": {
			routes: []Route{route("db", "", 5432, 0, 5432, "tcp"), route("web", "", 0, 0, 80, "tcp")}, had: had, taken: []int{40001},
			want: "127.0.0.1:5432/tcp=10000 127.0.0.1:40001/tcp=10001",
		},
		"a fixed port of before is none for a random one": {
			routes: []Route{route("web", "", 0, 0, 80, "tcp")},
			had:    []slot{{HostIP: "127.0.0.1", HostPort: 40001, Protocol: "tcp", Service: "web", Target: 80}},
			want:   "127.0.0.1:RANDOM/tcp=10000",
		},
		"a random port of another target is another": {
			routes: []Route{route("web", "", 40001, 40002, 81, "tcp")}, had: had, taken: []int{40001},
			want: "127.0.0.1:40002/tcp=10000",
		},
		"a fixed port takes it from a random one": {
			routes: []Route{route("web", "", 0, 0, 80, "tcp"), route("db", "", 40001, 0, 5432, "tcp")}, had: had,
			want: "127.0.0.1:RANDOM/tcp=10000 127.0.0.1:40001/tcp=10001",
		},
	} {
		t.Run(name, func(t *testing.T) {
			slots, err := assign(tc.routes, tc.had, func(s slot) bool {
				for _, p := range tc.taken {
					if s.HostPort == p {
						return false
					}
				}
				return true
			})
			got := listeners(slots)
			if err != nil {
				got = err.Error()
			}
			if strings.Contains(tc.want, "RANDOM") && err == nil {
				got = strings.Replace(got, fmt.Sprint(slots[0].HostPort), "RANDOM", 1)
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestRoutesAreChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		route Route
		want  string
	}{
		"protocol":     {route("a", "", 80, 0, 80, "sctp"), `"sctp"`},
		"address":      {route("a", "example", 80, 0, 80, "tcp"), "example"},
		"port":         {route("a", "", 70000, 0, 80, "tcp"), "70000"},
		"no node port": {Route{PublishedPort: route("a", "", 80, 0, 80, "tcp").PublishedPort}, "NodePort"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkRoutes([]Route{tc.route}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to name %s", err, tc.want)
			}
		})
	}
	if err := checkRoutes([]Route{route("a", "", 0, 0, 80, "udp"), route("a", "::", 1, 9, 80, "tcp")}); err != nil {
		t.Error(err)
	}
}

func TestEngineRefusalsAreRecognised(t *testing.T) {
	slots := []slot{{HostIP: "127.0.0.1", HostPort: 80, Protocol: "tcp"}, {HostIP: "127.0.0.1", HostPort: 8080, Protocol: "tcp"}, {HostIP: "::1", HostPort: 53, Protocol: "udp"}}
	for name, tc := range map[string]struct {
		text string
		port int // -1: the name; 0: nothing known
	}{
		"allocated": {"driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:8080 failed: port is already allocated", 8080},
		"in use":    {"driver failed: failed to bind port 127.0.0.1:80/tcp: Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use", 80},
		"v6":        {"listen udp6 [::1]:53: bind: address already in use", 53},
		"name":      {`Conflict. The container name "/x" is already in use by container "abc"`, -1},
		"other":     {"no such network", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0
			var taken *takenError
			if errors.As(asTaken(errors.New(tc.text), slots), &taken) {
				if got = -1; !taken.other {
					got = taken.slot.HostPort
				}
			}
			if got != tc.port {
				t.Errorf("got %d, want %d", got, tc.port)
			}
		})
	}
}

func TestWhatAGatewayWasAskedForKeepsItAsItIs(t *testing.T) {
	first, err := assign([]Route{route("web", "", 8080, 0, 80, "tcp"), route("db", "", 0, 0, 5432, "tcp")}, nil, func(slot) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	g := Gateway{slots: first}
	for _, s := range first {
		g.Ports = append(g.Ports, model.PublishedPort{Service: s.Service, KubeService: s.KubeService, HostIP: s.HostIP, HostPort: s.HostPort, Target: s.Target, Protocol: s.Protocol})
	}
	wanted := g.Wanted()
	if wanted[0].HostPort != 8080 || wanted[1].HostPort != 0 {
		t.Fatalf("wanted %v", wanted)
	}
	again, err := assign([]Route{{PublishedPort: wanted[1], NodePort: 30000}}, first, func(slot) bool { return false })
	if err != nil || again[0].HostPort != first[1].HostPort || !again[0].Random {
		t.Errorf("%+v, %v; was %+v", again, err, first[1])
	}
}
