package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/testneed"
)

// verbLimit is how long a berth command of a test may take.
const verbLimit = 5 * time.Minute

// A project is a copy of an example, run by the berth binary on the test
// cluster.
type project struct {
	t       *testing.T
	name    string
	dir     string
	cluster string
	berth   string
	http    *http.Client
}

// newProject copies an example to a folder of its own, under a name and with
// ports of its own: the example that somebody uses here meanwhile stays as it
// is. It takes the copy down when the test ends, with everything it left.
func newProject(t *testing.T, example string) *project {
	t.Helper()
	cluster, _ := testneed.Cluster(t)
	dir := filepath.Join(t.TempDir(), example)
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, name: example + "-test", dir: dir, cluster: cluster, berth: testneed.Berth(t), http: localhostClient()}
	p.edit("compose.yaml", "name: "+example, "name: "+p.name)
	p.movePorts("compose.yaml", 8080, 5000, 5001, 8000)
	p.must("down", "--volumes", "--rmi", "local") // what an aborted run may have left
	t.Cleanup(func() {
		if t.Failed() {
			p.diagnose()
		}
		p.must("down", "--volumes", "--rmi", "local")
	})
	return p
}

// localhostClient resolves every *.localhost name to this machine, as browsers
// and curl do.
func localhostClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}}
}

// command is a berth command line in the project's folder.
func (p *project) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.berth, append([]string{"--cluster", p.cluster, "--progress", "plain"}, args...)...)
	cmd.Dir = p.dir
	cmd.Cancel = nil
	return cmd
}

// run runs berth and returns its output and error.
func (p *project) run(args ...string) (stdout, stderr string, err error) {
	p.t.Helper()
	cmd := p.command(args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	began := time.Now()
	if err = cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	limit := time.AfterFunc(verbLimit, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) }) // its stacks say where it hangs
	defer limit.Stop()
	err = cmd.Wait()
	p.t.Logf("berth %s: %.1fs, error %v", strings.Join(args, " "), time.Since(began).Seconds(), err)
	return out.String(), errOut.String(), err
}

// must runs berth, which must succeed, and returns its standard output.
func (p *project) must(args ...string) string {
	p.t.Helper()
	stdout, stderr, err := p.run(args...)
	if err != nil {
		p.t.Fatalf("berth %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// diagnose prints what a reader of a failed test wants to see.
func (p *project) diagnose() {
	for _, args := range [][]string{{"ps", "-a"}, {"events", "--follow=false"}, {"logs", "--tail", "20"}} {
		stdout, stderr, _ := p.run(args...)
		p.t.Logf("%s%s", stdout, stderr)
	}
}

// edit replaces old by new in a file of the project.
func (p *project) edit(file, old, new string) {
	p.t.Helper()
	path := filepath.Join(p.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(old)) {
		p.t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(content, []byte(old), []byte(new)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// get fetches a page once.
func (p *project) get(url string) (string, error) {
	response, err := p.http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(body))
	}
	return string(body), nil
}

// serves waits until a page has the text.
func (p *project) serves(url, text string, limit time.Duration) {
	p.t.Helper()
	p.eventually(limit, fmt.Sprintf("%s to show %q", url, text), func() error {
		body, err := p.get(url)
		if err == nil && !strings.Contains(body, text) {
			return fmt.Errorf("page is %q", shorten(body))
		}
		return err
	})
}

// eventually waits until check returns nil.
func (p *project) eventually(limit time.Duration, what string, check func() error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			p.t.Logf("%s: after %.1fs", what, time.Since(began).Seconds())
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("waited %s for %s: %v", limit, what, err)
		case <-ticker.C:
		}
	}
}

// ingressURL is the address of a service through the ingress.
func (p *project) ingressURL(service string) string {
	return fmt.Sprintf("http://%s.%s.localhost:%s/", service, p.name, ingressPort())
}

// ingressPort is the host port of the test cluster's ingress.
func ingressPort() string {
	if port := os.Getenv("BERTH_TEST_HTTP_PORT"); port != "" {
		return port
	}
	return "8480"
}

// pod is a line of `berth ps --format json`.
type pod struct {
	Name, Service, Node, State, Health string
	Restarts                           int
}

// pods lists the pods of a service.
func (p *project) pods(service string) ([]pod, error) {
	stdout, stderr, err := p.run("ps", "--format", "json", service)
	if err != nil {
		return nil, errors.New(stderr)
	}
	var pods []pod
	decoder := json.NewDecoder(strings.NewReader(stdout))
	for decoder.More() {
		var row pod
		if err := decoder.Decode(&row); err != nil {
			return nil, fmt.Errorf("%w: %s", err, stdout)
		}
		pods = append(pods, row)
	}
	return pods, nil
}

// dev runs `berth dev` until stop is called, which interrupts it and checks
// that it ends by itself, well.
func (p *project) dev(args ...string) (stop func()) {
	p.t.Helper()
	cmd := p.command(append([]string{"dev"}, args...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	stop = func() {
		p.t.Helper()
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGINT)
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 130) {
				p.t.Errorf("berth dev: %v\n%s", err, output.String())
			}
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			err := <-ended
			p.t.Errorf("berth dev did not end after an interrupt (%v)\n%s", err, output.String())
		}
		if p.t.Failed() {
			p.t.Log(output.String())
		}
	}
	p.t.Cleanup(stop)
	return stop
}

// docker runs the engine's client and returns its standard output.
func (p *project) docker(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("docker", args...).Output()
	if err != nil {
		p.t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// kubectl runs kubectl against the test cluster and returns its standard output.
func (p *project) kubectl(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", p.cluster + "-control-plane",
		"kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// leavesNothing checks that no trace of the project is left.
func (p *project) leavesNothing(ports ...string) {
	p.t.Helper()
	label := "com.docker.compose.project=" + p.name
	if left := p.kubectl("get", "namespaces", "-l", label, "-o", "name"); left != "" {
		p.t.Errorf("namespaces left: %s", left)
	}
	if left := p.kubectl("get", "all,pvc,ingress,configmap,secret,networkpolicy", "-A", "-l", label, "-o", "name", "--ignore-not-found"); left != "" {
		p.t.Errorf("objects left: %s", left)
	}
	if left := p.docker("ps", "-aq", "--filter", "label="+label); left != "" {
		p.t.Errorf("containers left: %s", left)
	}
	if left := p.docker("images", "-q", "--filter", "label="+label); left != "" {
		p.t.Errorf("images left: %s", left)
	}
	for _, node := range strings.Fields(p.docker("ps", "--filter", "label=io.x-k8s.kind.cluster="+p.cluster, "--format", "{{.Names}}")) {
		if images := p.docker("exec", node, "crictl", "images"); strings.Contains(images, p.name+"-") {
			p.t.Errorf("images left on node %s:\n%s", node, images)
		}
	}
	for _, port := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			p.t.Errorf("port %s is still taken: %v", port, err)
			continue
		}
		listener.Close()
	}
}

func shorten(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}
