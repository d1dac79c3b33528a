package examples

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
)

// A corpusCase is a project of the corpus that runs whole on the cluster, with
// stand-ins for its base images.
type corpusCase struct {
	folder string
	images []string          // the base images that stand-ins are made for
	files  map[string]string // programs, which the corpus leaves out, and an override file for taken ports
	ports  []string          // that it publishes
	check  func(*testing.T, *project)
}

// backend is the program of the projects whose page is "the database answers".
var backend = map[string]string{
	"backend/Dockerfile": "FROM golang:1.26 AS builder\nWORKDIR /src\nCOPY main.go .\nRUN go build -o /backend main.go\nCMD [\"/backend\"]\n",
	"backend/main.go": `package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	log.Fatal(http.ListenAndServe(":8000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.ReadFile("/run/secrets/db-password"); err != nil {
			fmt.Fprintln(w, err)
			return
		}
		for _, address := range []string{"db:5432", "db:3306"} {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				fmt.Fprintln(w, "the database answers")
				return
			}
		}
		fmt.Fprintln(w, "no database")
	})))
}
`,
}

// withPort is backend and an override file that moves the proxy's port 80.
func withPort(port string) map[string]string {
	files := map[string]string{"compose.override.yaml": fmt.Sprintf("services: {proxy: {ports: !override [\"%s:80\"]}}\n", port)}
	for name, text := range backend {
		files[name] = text
	}
	return files
}

var corpusCases = []corpusCase{
	{folder: "docker__awesome-compose__nginx-golang-postgres", images: []string{"golang:1.26", "nginx", "postgres"},
		files: withPort(hostPort(8120)), ports: []string{hostPort(8120)}, check: func(_ *testing.T, p *project) {
			p.serves(address(8120, "/"), "the database answers", soon)
		}},
	{folder: "docker__awesome-compose__nginx-golang-mysql", images: []string{"golang:1.26", "nginx", "mariadb:10-focal"},
		files: withPort(hostPort(8120)), ports: []string{hostPort(8120)}, check: func(_ *testing.T, p *project) {
			p.serves(address(8120, "/"), "the database answers", soon)
		}},
	{folder: "docker__compose__ps-test", images: []string{"nginx:latest", "busybox"},
		files: map[string]string{"compose.override.yaml": "services: {busybox: {working_dir: /etc, ports: !override [\"127.0.0.1:" + hostPort(8121) + ":8000\"]}}\n"},
		ports: []string{hostPort(8121)}, check: func(_ *testing.T, p *project) {
			p.serves(address(8121, "/passwd"), "root:", soon)
		}},
	{folder: "docker__compose__TestPortRange", images: []string{"alpine"}, check: func(t *testing.T, p *project) {
		for _, service := range []string{"b", "c"} {
			address := strings.TrimSpace(p.must("port", service, "80"))
			if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
				t.Errorf("port %s: %q", service, address)
			}
		}
		if err := p.ready("a", 5); err != nil {
			t.Error(err)
		}
	}},
	{folder: "docker__compose__TestInitContainer", images: []string{"alpine"}, check: func(_ *testing.T, p *project) {
		p.logsContain("foo", "hello")
		p.logsContain("bar", "world")
	}},
	{folder: "docker__compose__TestSecretFromEnv", images: []string{"alpine"},
		files: map[string]string{".env": "SECRET=from-the-environment\n"}, check: func(_ *testing.T, p *project) {
			p.logsContain("foo", "from-the-environment")
		}},
	{folder: "docker__compose__TestConfigFromEnv", images: []string{"alpine"}, check: func(_ *testing.T, p *project) {
		p.logsContain("from_env", "config-from-env")
		p.logsContain("from_file", "This is my config file")
		p.logsContain("inlined", "This is my config-from-env")
		p.logsContain("target", "This is my config-from-env")
	}},
	{folder: "docker__compose__TestPreStartHookRunsOnceForScaledService", images: []string{"alpine"}, check: func(t *testing.T, p *project) {
		// Before every pod, and not once for all: the report says so.
		if got := p.must("exec", "-T", "sample", "cat", "/shared/log"); !strings.HasPrefix(got, "ran\n") {
			t.Errorf("pre_start wrote %q", got)
		}
	}},
	{folder: "docker__compose__TestNoDepsVolumeFrom", images: []string{"alpine"}, check: func(t *testing.T, p *project) {
		p.must("exec", "-T", "app", "sh", "-c", "echo shared > /var/data/file")
		if got := p.must("exec", "-T", "db", "cat", "/var/data/file"); got != "shared\n" {
			t.Errorf("volumes_from shows %q", got)
		}
	}},
	{folder: "docker__compose__TestImageVolumeImageAlreadyLocal", images: []string{"alpine", "nginx:alpine"}, check: func(_ *testing.T, p *project) {
		p.logsContain("app", "index.html")
	}},
	{folder: "docker__compose__start-stop", images: []string{"nginx:alpine"}, check: func(_ *testing.T, p *project) {
		p.must("stop", "simple")
		p.eventually(rollout, "only one service to run", func() error { return p.ready("simple", 0) })
		p.must("start", "simple")
		p.eventually(rollout, "both to run", func() error { return p.ready("simple", 1) })
	}},
	{folder: "docker__compose__wait", images: []string{"alpine"}, check: func(t *testing.T, p *project) {
		if got := p.must("wait", "faster"); !strings.Contains(got, "0") {
			t.Errorf("wait says %q", got)
		}
	}},
}

// TestCorpusProjectsRun brings projects of the corpus up whole, uses them, and
// takes them down to nothing.
func TestCorpusProjectsRun(t *testing.T) {
	cluster, _ := testneed.Cluster(t)
	corpus := testneed.Corpus(t)
	for _, c := range corpusCases {
		t.Run(c.folder, func(t *testing.T) {
			testneed.Long(t)
			p := newCorpusProject(t, cluster, filepath.Join(corpus, c.folder), c)
			p.must(append([]string{"offline", "build", "--if-needed"}, c.images...)...)
			p.must("up")
			c.check(t, p)
			p.must("down", "--volumes", "--rmi", "local")
			p.leavesNothing(c.ports...)
		})
	}
}

// newCorpusProject copies a project of the corpus to a folder of its own, adds
// files, and takes it down when the test ends.
func newCorpusProject(t *testing.T, cluster, source string, c corpusCase) *project {
	t.Helper()
	parts := strings.Split(c.folder, "__")
	name := strings.ToLower(parts[len(parts)-1])
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, name: name, dir: dir, cluster: cluster, berth: testneed.Berth(t), http: localhostClient()}
	for file, text := range c.files {
		p.write(file, text)
	}
	p.takeDown()
	return p
}

// logsContain waits until a service has logged text.
func (p *project) logsContain(service, text string) {
	p.t.Helper()
	p.eventually(soon, fmt.Sprintf("%s to log %q", service, text), func() error {
		if logs := p.must("logs", service); !strings.Contains(logs, text) {
			return fmt.Errorf("its log is %q", shorten(logs))
		}
		return nil
	})
}
