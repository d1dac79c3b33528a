// Package testneed skips tests by name where an engine or a cluster is
// missing, and fails them instead where BERTH_REQUIRE ("docker,cluster") says
// that it must not be. Only tests import it.
package testneed

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Docker returns when a Docker Engine listens where DOCKER_HOST or the default
// socket says.
func Docker(t testing.TB) {
	t.Helper()
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	u, err := url.Parse(host)
	if err != nil {
		missing(t, "docker", "DOCKER_HOST is not an address: "+host)
	}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	if err := dial(network, address); err != nil {
		missing(t, "docker", err.Error())
	}
}

// Cluster returns the name and kubeconfig context of the kind cluster that
// tests may use: BERTH_TEST_CLUSTER, by default "berth-test", whose API server
// must answer. It implies Docker.
func Cluster(t testing.TB) (name, context string) {
	t.Helper()
	Docker(t)
	name = os.Getenv("BERTH_TEST_CLUSTER")
	if name == "" {
		name = "berth-test"
	}
	context = "kind-" + name
	server, err := serverOf(context)
	if err != nil {
		missing(t, "cluster", err.Error())
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		missing(t, "cluster", "the kubeconfig has no server for context "+context)
	}
	if err := dial("tcp", u.Host); err != nil {
		missing(t, "cluster", err.Error())
	}
	return name, context
}

// Corpus returns the folder of real compose projects, or skips the test. It is
// no part of the project, so BERTH_REQUIRE does not ask for it.
func Corpus(t testing.TB) string {
	t.Helper()
	corpus := CorpusDir(t)
	if corpus == "" {
		t.Skip("needs the corpus of compose projects beside the repository (BERTH_CORPUS)")
	}
	return corpus
}

// CorpusDir is Corpus for tests that can do without: "" where there is none.
func CorpusDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
	corpus := os.Getenv("BERTH_CORPUS")
	if corpus == "" {
		corpus = filepath.Join(filepath.Dir(dir), "shared", "corpus", "compose")
	}
	if _, err := os.Stat(corpus); err != nil {
		return ""
	}
	return corpus
}

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, 3*time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

func missing(t testing.TB, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("BERTH_REQUIRE"), ","), what) {
		t.Fatalf("BERTH_REQUIRE asks for %s: %s", what, why)
	}
	t.Skipf("needs %s: %s", what, why)
}

// serverOf reads the API server's address of a context from the kubeconfig,
// without client-go, so that any package's tests may import this one.
func serverOf(context string) (string, error) {
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, ".kube", "config")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var config struct {
		Clusters []struct {
			Name    string
			Cluster struct{ Server string }
		}
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		return "", err
	}
	for _, c := range config.Clusters {
		if c.Name == context { // kind names cluster and context alike
			return c.Cluster.Server, nil
		}
	}
	return "", nil
}
