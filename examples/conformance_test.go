package examples

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// A scenario is a project of the compose specification's conformance tests and
// what must hold once it is up.
type scenario struct {
	name    string
	project string
	limit   time.Duration // for `up`, the images being there
	check   func(*testing.T, *project)
	nodes   map[string]int // service -> worker, in the second round
	always  bool           // in every make test; the others take their turns
}

// scenarios asks what compose-spec/conformance-tests asks (its nine tests), in
// the same words: bodies are compared byte for byte.
func scenarios() []scenario {
	entry := map[string]int{"entry": 0}
	both := map[string]int{"entry": 0, "target": 1}
	return []scenario{
		{"simple lifecycle", "simple_lifecycle", 5 * time.Second, nil, map[string]int{"test1": 1}, false},
		{"simple network", "simple_network", 5 * time.Second, answers("/ping?address=target:8080/ping", `{"response":"PONG FROM TARGET"}`), both, false},
		{"unknown name", "simple_network", 5 * time.Second, answers("/ping?address=notatarget:8080/ping", `{"response":"Could not reach address: notatarget:8080/ping"}`), both, false},
		{"different networks", "different_networks", 5 * time.Second, answers("/ping?address=target:8080/ping", `{"response":"Could not reach address: target:8080/ping"}`), both, true},
		{"volume file", "simple_volume", 5 * time.Second, answers("/volumefile?filename=test_volume.txt", `{"response":"MYVOLUME"}`), entry, false},
		{"secret file", "simple_secretfile", 5 * time.Second, answers("/volumefile?filename=test_secret.txt", `{"response":"MYSECRET"}`), entry, false},
		{"config file", "simple_configfile", 5 * time.Second, answers("/volumefile?filename=test_config.txt", `{"response":"MYCONFIG"}`), entry, false},
		{"UDP port", "udp_port", 5 * time.Second, remembersDatagram, entry, true},
		{"scaling", "scaling", 8 * time.Second, countsClients, map[string]int{"server": 0, "client": 1}, true},
	}
}

// TestComposeConformance runs every scenario where the scheduler puts it, and
// again with its services on nodes of their own. Each must leave nothing.
func TestComposeConformance(t *testing.T) {
	cluster, _ := testneed.Cluster(t)
	importProgram(t, "testdata/conformance/server", "composespec/conformance-tests-server:latest")
	importProgram(t, "testdata/conformance/client", "composespec/conformance-tests-client:latest")
	for _, apart := range []bool{false, true} {
		for _, s := range scenarios() {
			name := s.name
			if apart {
				name += ", on nodes of their own"
			}
			t.Run(name, func(t *testing.T) {
				if apart || !s.always {
					testneed.Long(t)
				}
				p := newScenario(t, s, cluster, apart)
				began := time.Now()
				p.must(p.upArgs...)
				took := time.Since(began)
				t.Logf("up took %.1fs", took.Seconds())
				if took > s.limit {
					t.Logf("more than the %s that it should take on an idle machine", s.limit)
				}
				if s.check != nil {
					s.check(t, p.project)
				}
				p.must("-f", "compose.yaml", "down", "--volumes")
				p.leavesNothing(hostPort(8080))
				p.udpIsFree(hostPort(10001))
			})
		}
	}
}

type scenarioProject struct {
	*project
	upArgs []string
}

// newScenario copies the project, the corpus' own where there is one, into a
// folder whose name is the project's, underscores included.
func newScenario(t *testing.T, s scenario, cluster string, apart bool) scenarioProject {
	t.Helper()
	source := os.DirFS(filepath.Join("testdata/conformance/projects", s.project))
	if corpus := testneed.CorpusDir(t); corpus != "" {
		dir := filepath.Join(corpus, "compose-spec__conformance-tests__"+s.project)
		if _, err := os.Stat(dir); err == nil {
			source = os.DirFS(dir)
		}
	}
	dir := filepath.Join(t.TempDir(), s.project)
	if err := os.CopyFS(dir, source); err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, name: s.project, dir: dir, cluster: cluster, berth: testneed.Berth(t), http: localhostClient()}
	p.movePorts("compose.yaml", 8080, 10001)
	args := []string{"-f", "compose.yaml"}
	if apart {
		args = append(args, "-f", "apart.yaml")
		p.write("apart.yaml", onNodes(cluster, s.nodes))
	}
	p.takeDown()
	return scenarioProject{p, append(args, "up")}
}

// onNodes is a compose file that puts services on workers.
func onNodes(cluster string, nodes map[string]int) string {
	workers := []string{cluster + "-worker", cluster + "-worker2"}
	var b strings.Builder
	b.WriteString("services:\n")
	for service, i := range nodes {
		fmt.Fprintf(&b, "  %s: {deploy: {placement: {constraints: [%q]}}}\n", service, "node.hostname=="+workers[i])
	}
	return b.String()
}

// answers is a check of one answer, which must come without another try.
func answers(path, want string) func(*testing.T, *project) {
	return func(t *testing.T, _ *project) {
		t.Helper()
		began := time.Now()
		if got := fetch(t, path); got != want+"\n" {
			t.Errorf("%s: %q, want %q", path, got, want+"\n")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: the answer took %s", path, took)
		}
	}
}

// fetch gets a page of the scenario's published port, whatever its status.
func fetch(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Get("http://127.0.0.1:" + hostPort(8080) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// remembersDatagram sends one datagram, without another try.
func remembersDatagram(t *testing.T, p *project) {
	conn, err := net.Dial("udp", "127.0.0.1:"+hostPort(10001))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(`{"request":"myUdpvalue"}`)); err != nil {
		t.Fatal(err)
	}
	p.eventually(2*time.Second, "the datagram to arrive", func() error {
		if got := fetch(t, "/udp"); got != `{"response":"myUdpvalue"}`+"\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// countsClients checks that each of three clients has been there once, and
// that all are known to have ended well.
func countsClients(t *testing.T, p *project) {
	p.eventually(5*time.Second, "three clients", func() error {
		if got := fetch(t, "/scalechecker"); got != `{"response":"3"}`+"\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if ps := p.must("-f", "compose.yaml", "ps", "-a"); strings.Contains(ps, "CrashLoop") || strings.Contains(ps, "Exited (2)") {
		t.Errorf("the clients have not ended well:\n%s", ps)
	}
}
