package examples

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// The image of this suite: one static program, nothing else.
const probeImage = "berth.test/probe:latest"

const namesProject = `
name: behave-names
services:
  a:
    image: berth.test/probe
    container_name: box-a
    hostname: host-a
    networks:
      front: {aliases: [alpha, my.dotted.alias, Capital_Alias]}
  under_score:
    image: berth.test/probe
    networks: [front, back]
  Upper:
    image: berth.test/probe
    links: ["c:linked"]
    networks: {back: {aliases: [shared]}}
  c:
    image: berth.test/probe
    links: ["under_score:linked"]
    networks: {back: {aliases: [shared]}}
    extra_hosts: ["fixed.example:10.1.2.3", "me:host-gateway"]
  lonely:
    image: berth.test/probe
    networks: [other]
networks: {front: {}, back: {}, other: {}}
`

// namesOf says on which networks a name must be known, and members which
// services are on a network.
var (
	namesOf = map[string][]string{
		"a": {"front"}, "box-a": {"front"}, "host-a": {"front"}, "alpha": {"front"}, "my.dotted.alias": {"front"}, "Capital_Alias": {"front"}, "capital_alias": {"front"},
		"under_score": {"front", "back"}, "UNDER_score": {"front", "back"}, "Upper": {"back"}, "upper": {"back"}, "shared": {"back"}, "c": {"back"}, "lonely": {"other"},
		"nobody": nil, "kubernetes": nil, "kube-dns.kube-system": nil, "a.behave-names": nil, "front": nil,
	}
	linkedTo = map[string]string{"c": "under_score", "Upper": "c"}
	members  = map[string][]string{"a": {"front"}, "under_score": {"front", "back"}, "Upper": {"back"}, "c": {"back"}, "lonely": {"other"}}
)

// TestNamesResolveForMembersOfACommonNetwork asks every name from every
// container: those of its networks must be known, and no other, at once.
func TestNamesResolveForMembersOfACommonNetwork(t *testing.T) {
	p := newProbeProject(t, "behave-names", namesProject)
	p.must("up")
	p.askEveryName()

	t.Run("a changed name", func(*testing.T) {
		p.edit("compose.yaml", "my.dotted.alias", "another.alias")
		p.must("up")
		p.expectNames("under_score", map[string]bool{"another.alias": true, "my.dotted.alias": false, "alpha": true})
	})
	t.Run("after all nodes were stopped", func(t *testing.T) {
		testneed.Long(t)
		p.edit("compose.yaml", "another.alias", "my.dotted.alias")
		p.must("up")
		p.must("cluster", "stop", p.cluster)
		p.must("cluster", "start", p.cluster)
		p.must("up")
		p.askEveryName()
	})
	p.must("down", "--volumes")
	if zone := p.kubectl("get", "configmap", "-n", "kube-system", "berth-names", "-o", "jsonpath={.data.zone}"); strings.Contains(zone, "behave-names") {
		t.Errorf("names are left:\n%s", zone)
	}
	p.leavesNothing()
}

func (p *project) askEveryName() {
	p.t.Helper()
	for service, networks := range members {
		want := map[string]bool{"host.docker.internal": true, "localhost": true, "fixed.example": service == "c", "me": service == "c"}
		linked, links := linkedTo[service] // the alias of a link is its own service's alone
		want["linked"] = links
		for name, known := range namesOf {
			want[name] = slices.ContainsFunc(known, func(n string) bool { return slices.Contains(networks, n) })
		}
		addresses := p.expectNames(service, want)
		if links && addresses["linked"] != addresses[linked] {
			p.t.Errorf("from %s: linked is %s, and %s is %s", service, addresses["linked"], linked, addresses[linked])
		}
	}
}

// expectNames asks for names from the container of a service and returns their
// addresses.
func (p *project) expectNames(service string, want map[string]bool) map[string]string {
	p.t.Helper()
	addresses := map[string]string{}
	args := []string{"exec", "-T", service, "/program", "resolve"}
	for name := range want {
		args = append(args, name)
	}
	for line := range strings.Lines(p.must(args...)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			p.t.Fatalf("from %s: %q", service, line)
		}
		name, found := fields[0], fields[1] != "-"
		addresses[name] = fields[1]
		if found != want[name] {
			p.t.Errorf("from %s: %s is %s, known must be %t", service, name, fields[1], want[name])
		}
		if ms, err := strconv.Atoi(fields[2]); err != nil || time.Duration(ms)*time.Millisecond > 2*time.Second {
			p.t.Errorf("from %s: the answer for %s took %s ms", service, name, fields[2])
		}
	}
	return addresses
}

// newProbeProject writes a compose file whose services use the probe image.
func newProbeProject(t *testing.T, name, compose string) *project {
	t.Helper()
	cluster, _ := testneed.Cluster(t)
	importProgram(t, "testdata/probe", probeImage)
	p := &project{t: t, name: name, dir: t.TempDir(), cluster: cluster, berth: testneed.Berth(t), http: localhostClient()}
	p.write("compose.yaml", strings.TrimPrefix(compose, "\n"))
	p.takeDown()
	return p
}

// address is a URL of a published port of a test's compose file.
func address(port int, path string) string {
	return fmt.Sprintf("http://127.0.0.1:%s%s", hostPort(port), path)
}
