package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func (c *fakeCluster) publish(t *testing.T, project string, routes ...Route) []model.PublishedPort {
	t.Helper()
	ports, err := New(c.engine).Publish(t.Context(), Spec{Project: project, Cluster: c.name, Routes: routes}, progress.Discard)
	if err != nil {
		t.Fatalf("%v\n%s", err, problem.Hint(err))
	}
	return ports
}

func to(nodePort, hostPort int, protocol string) Route {
	r := route("web", "", hostPort, 0, nodePort-30000, protocol)
	r.NodePort = nodePort
	return r
}

func address(p model.PublishedPort) string {
	return net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort))
}

// greet connects and returns the node's first line.
func greet(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

// shout sends one datagram, once, and returns the answer.
func shout(address, text string) (string, error) {
	c, err := net.Dial("udp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	buf := make([]byte, 1000)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

// TestGateway runs on one fake cluster, which takes longer to make than each of
// the tests.
func TestGateway(t *testing.T) {
	c := newFakeCluster(t)
	for name, test := range map[string]func(*testing.T, *fakeCluster){
		"PublishedPortsAnswerWhenPublishReturns": testPublishedPortsAnswerWhenPublishReturns,
		"NewTargetsKeepContainerAndConnections":  testNewTargetsKeepContainerAndConnections,
		"ChangedPortsAreMovedAndRandomOnesStay":  testChangedPortsAreMovedAndRandomOnesStay,
		"TakenPortNamesItsHolder":                testTakenPortNamesItsHolder,
		"GatewayOutlivesNodes":                   testGatewayOutlivesNodes,
		"TwoPublishersAtOnceEndWithOneGateway":   testTwoPublishersAtOnceEndWithOneGateway,
		"GatewayOfAKilledBerthIsMadeAnew":        testGatewayOfAKilledBerthIsMadeAnew,
		"FailedReplacementKeepsWhatWorked":       testFailedReplacementKeepsWhatWorked,
		"KilledReplacementIsFinished":            testKilledReplacementIsFinished,
		"TwoReplacementsAtOnceEndWithOneGateway": testTwoReplacementsAtOnceEndWithOneGateway,
		"ClusterThatIsNotThereIsAProblem":        testClusterThatIsNotThereIsAProblem,
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() {
				if err := New(c.engine).RemoveAll(context.Background(), c.name); err != nil {
					t.Error(err)
				}
			})
			test(t, c)
		})
	}
}

// freeHostPort is a port of this host that nothing holds now.
func freeHostPort(t *testing.T, protocol string) int {
	t.Helper()
	port, err := freePort(route("x", "", 0, 0, 1, protocol))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func testPublishedPortsAnswerWhenPublishReturns(t *testing.T, c *fakeCluster) {
	fixed := freeHostPort(t, "tcp")
	begin := time.Now()
	ports := c.publish(t, "shop", to(30080, fixed, "tcp"), to(30081, 0, "tcp"), to(30080, 0, "udp"))
	t.Logf("published in %s", time.Since(begin))
	if ports[0].HostPort != fixed || ports[1].HostPort == 0 || ports[2].HostPort == 0 {
		t.Fatalf("got %+v", ports)
	}
	if got, err := greet(address(ports[0])); err != nil || !strings.HasSuffix(got, ":30080") {
		t.Errorf("tcp: %q, %v", got, err)
	}
	if got, err := greet(address(ports[1])); err != nil || !strings.HasSuffix(got, ":30081") {
		t.Errorf("random tcp: %q, %v", got, err)
	}
	if got, err := shout(address(ports[2]), "hello"); err != nil || !strings.HasSuffix(got, ":30080 hello") {
		t.Errorf("udp: %q, %v", got, err)
	}
	seen := map[string]bool{}
	for range 30 {
		got, err := greet(address(ports[0]))
		if err != nil {
			t.Fatal(err)
		}
		seen[got] = true
	}
	if len(seen) != 3 {
		t.Errorf("answers came from %v, want all three nodes", seen)
	}

	before := containerID(t, c, "shop")
	begin = time.Now()
	again := c.publish(t, "shop", to(30080, fixed, "tcp"), to(30081, 0, "tcp"), to(30080, 0, "udp"))
	t.Logf("published again, unchanged, in %s", time.Since(begin))
	if !slices.Equal(again, ports) || containerID(t, c, "shop") != before {
		t.Errorf("the second time gave %+v, the first %+v", again, ports)
	}

	begin = time.Now()
	if err := New(c.engine).Remove(t.Context(), c.name, "shop"); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed in %s", time.Since(begin))
	for _, p := range ports {
		if l, err := net.Listen("tcp", address(p)); p.Protocol == "tcp" && err != nil {
			t.Errorf("%s is not free: %v", address(p), err)
		} else if l != nil {
			l.Close()
		}
		if l, err := net.ListenPacket("udp", address(p)); p.Protocol == "udp" && err != nil {
			t.Errorf("%s is not free: %v", address(p), err)
		} else if l != nil {
			l.Close()
		}
	}
	if left, err := New(c.engine).List(t.Context(), c.name); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func containerID(t *testing.T, c *fakeCluster, project string) string {
	t.Helper()
	all, err := New(c.engine).ofProject(t.Context(), c.name, project)
	if err != nil || len(all) != 1 || all[0].Name != ContainerName(c.name, project) {
		t.Fatalf("gateways: %+v, %v", all, err)
	}
	return all[0].id
}

func testNewTargetsKeepContainerAndConnections(t *testing.T, c *fakeCluster) {
	r := to(30080, 0, "tcp")
	r.Target = 80
	port := c.publish(t, "p", r)[0]
	before := containerID(t, c, "p")
	conn, err := net.Dial("tcp", address(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	r.NodePort = 30081
	begin := time.Now()
	if again := c.publish(t, "p", r)[0]; again.HostPort != port.HostPort {
		t.Errorf("the random port moved from %d to %d", port.HostPort, again.HostPort)
	}
	t.Logf("new targets in %s", time.Since(begin))
	if containerID(t, c, "p") != before {
		t.Error("the container was made anew")
	}
	if got, err := greet(address(port)); err != nil || !strings.HasSuffix(got, ":30081") {
		t.Errorf("a new connection: %q, %v", got, err)
	}
	_, _ = io.WriteString(conn, "still there?\n")
	if got, err := lines.ReadString('\n'); err != nil || got != "still there?\n" {
		t.Errorf("the old connection: %q, %v", got, err)
	}
}

func testChangedPortsAreMovedAndRandomOnesStay(t *testing.T, c *fakeCluster) {
	random := to(30081, 0, "tcp")
	first := c.publish(t, "p", to(30080, freeHostPort(t, "tcp"), "tcp"), random)
	second := c.publish(t, "p", to(30080, freeHostPort(t, "tcp"), "tcp"), random)
	if first[1] != second[1] {
		t.Errorf("the random port moved from %d to %d", first[1].HostPort, second[1].HostPort)
	}
	if _, err := greet(address(first[0])); err == nil {
		t.Error("the old port still answers")
	}
	if _, err := greet(address(second[0])); err != nil {
		t.Error(err)
	}
	if ports := c.publish(t, "p"); len(ports) != 0 {
		t.Errorf("got %v", ports)
	}
	if left, err := New(c.engine).List(t.Context(), c.name); err != nil || len(left) != 0 {
		t.Errorf("without routes there is still %v, %v", left, err)
	}
}

func testTakenPortNamesItsHolder(t *testing.T, c *fakeCluster) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mine := l.Addr().(*net.TCPAddr).Port
	free := freeHostPort(t, "tcp")
	other := c.publish(t, "other", to(30080, 0, "tcp"))[0].HostPort
	kept := c.publish(t, "p", to(30080, free, "tcp"))[0]
	for name, tc := range map[string]struct {
		port int
		want string
	}{
		"process": {mine, fmt.Sprintf("(pid %d)", os.Getpid())},
		"gateway": {other, ContainerName(c.name, "other")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.engine).Publish(t.Context(), Spec{Project: "p", Cluster: c.name,
				Routes: []Route{to(30080, free, "tcp"), to(30081, tc.port, "tcp")}}, progress.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), strconv.Itoa(tc.port)) || problem.Hint(err) == "" {
				t.Errorf("got %v, want it to name port %d and %s", err, tc.port, tc.want)
			}
			if _, err := greet(address(kept)); err != nil {
				t.Errorf("the refusal ended what was published before: %v", err)
			}
		})
	}
}

func testGatewayOutlivesNodes(t *testing.T, c *fakeCluster) {
	ports := c.publish(t, "p", to(30080, 0, "tcp"), to(30080, 0, "udp"))
	// All are stopped and come back in another order, so that they swap addresses.
	for _, n := range c.nodes {
		c.stop(t, n)
	}
	for _, n := range []string{c.nodes[2], c.nodes[0]} {
		c.start(t, n)
	}
	for range 10 {
		got, err := greet(address(ports[0]))
		if err != nil {
			t.Fatalf("with one node missing: %v", err)
		}
		if got == "" {
			t.Fatal("an empty answer")
		}
		if got, err := shout(address(ports[1]), "hello"); err != nil || !strings.HasSuffix(got, "hello") {
			t.Fatalf("udp with one node missing: %q, %v", got, err)
		}
	}
	c.start(t, c.nodes[1])
	seen := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); len(seen) < 3 && time.Now().Before(deadline); {
		if got, err := greet(address(ports[0])); err == nil {
			seen[got] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("only %v answer after all are back", seen)
	}
}

func testTwoPublishersAtOnceEndWithOneGateway(t *testing.T, c *fakeCluster) {
	port := freeHostPort(t, "tcp")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			_, err := New(c.engine).Publish(context.Background(), Spec{Project: "p", Cluster: c.name, Routes: []Route{to(30080, port, "tcp")}}, progress.Discard)
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if _, err := greet(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		t.Error(err)
	}
}

func testGatewayOfAKilledBerthIsMadeAnew(t *testing.T, c *fakeCluster) {
	id, err := c.engine.CreateContainer(t.Context(), docker.RunSpec{
		Image: fakeImage, Name: ContainerName(c.name, "p"), Network: c.name, Entrypoint: []string{"/none"},
		Labels: map[string]string{model.LabelGateway: "p", model.LabelCluster: c.name},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.letFinishLeft(t)
	port := c.publish(t, "p", to(30080, 0, "tcp"))[0]
	if _, err := greet(address(port)); err != nil || containerID(t, c, "p") == id {
		t.Errorf("%v", err)
	}
}

// letFinishLeft finds what a berth left that was killed, an hour ago as it were.
func (c *fakeCluster) letFinishLeft(t *testing.T) {
	t.Helper()
	all, err := New(c.engine).ofProject(t.Context(), c.name, "p")
	if err != nil {
		t.Fatal(err)
	}
	left := slices.IndexFunc(all, Gateway.making)
	if left < 0 {
		t.Fatalf("got %+v", all)
	}
	all[left].since = time.Now().Add(-time.Hour)
	if err := New(c.engine).letFinish(t.Context(), all[left], progress.Start(progress.Discard, "x", "")); err != nil {
		t.Fatal(err)
	}
}

func testFailedReplacementKeepsWhatWorked(t *testing.T, c *fakeCluster) {
	works := to(30080, 0, "tcp")
	port := c.publish(t, "p", works)[0]
	before := containerID(t, c, "p")
	foreign := to(30081, freeHostPort(t, "tcp"), "tcp")
	foreign.HostIP = "192.0.2.1" // of TEST-NET-1, no address of this host
	_, err := New(c.engine).Publish(t.Context(), Spec{Project: "p", Cluster: c.name, Routes: []Route{works, foreign}}, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("got %v", err)
	}
	if after := containerID(t, c, "p"); after != before {
		t.Error("another gateway is there now")
	}
	if again := c.publish(t, "p", works)[0]; again != port {
		t.Errorf("the port moved from %v to %v", port, again)
	}
	if _, err := greet(address(port)); err != nil {
		t.Error(err)
	}
}

func testKilledReplacementIsFinished(t *testing.T, c *fakeCluster) {
	for name, killed := range map[string]struct{ started, removed bool }{
		"before the new one started": {},
		"after":                      {started: true},
		"after the old one went":     {started: true, removed: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, p := t.Context(), New(c.engine)
			port := c.publish(t, "p", to(30080, 0, "tcp"))[0]
			old, err := p.ofProject(ctx, c.name, "p")
			if err != nil {
				t.Fatal(err)
			}
			facts, err := p.cluster(ctx, c.name)
			if err != nil {
				t.Fatal(err)
			}
			spec := Spec{Project: "p", Cluster: c.name, Image: facts.image, Routes: []Route{to(30080, port.HostPort, "tcp")}}
			slots, err := assign(spec.Routes, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			next, err := p.prepare(ctx, spec, old[0].Name+nextSuffix, facts, slots, old[0].agent)
			if err == nil {
				err = c.engine.StopContainer(ctx, old[0].id, stopGrace)
			}
			if err == nil && killed.started {
				err = p.start(ctx, spec, next)
			}
			if err == nil && killed.removed {
				err = c.engine.RemoveContainer(ctx, old[0].id)
			}
			if err != nil {
				t.Fatal(err)
			}
			c.letFinishLeft(t)
			c.publish(t, "p", spec.Routes...)
			if id := containerID(t, c, "p"); killed.started && id != next.id {
				t.Error("a gateway that ran was made anew")
			}
			if _, err := greet(address(port)); err != nil {
				t.Error(err)
			}
		})
	}
}

func testTwoReplacementsAtOnceEndWithOneGateway(t *testing.T, c *fakeCluster) {
	port := c.publish(t, "p", to(30080, 0, "tcp"))[0]
	var both sync.WaitGroup
	for range 2 {
		another := freeHostPort(t, "tcp")
		both.Go(func() {
			_, err := New(c.engine).Publish(context.Background(), Spec{Project: "p", Cluster: c.name,
				Routes: []Route{to(30080, port.HostPort, "tcp"), to(30081, another, "tcp")}}, progress.Discard)
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	containerID(t, c, "p") // checks that there is one
	if _, err := greet(address(port)); err != nil {
		t.Error(err)
	}
}

func testClusterThatIsNotThereIsAProblem(t *testing.T, c *fakeCluster) {
	_, err := New(c.engine).Publish(t.Context(), Spec{Project: "p", Cluster: "none-such", Routes: []Route{to(30080, 0, "tcp")}}, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), `"none-such"`) || problem.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}
