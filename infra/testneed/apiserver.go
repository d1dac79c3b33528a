package testneed

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// apiServerWithin is how long the processes of APIServer may take to answer.
const apiServerWithin = 90 * time.Second

// APIServer starts etcd, kube-apiserver and kube-controller-manager, no nodes,
// on loopback and returns the kubeconfig file of an administrator. The
// programs are those that the offline kit has built (`berth offline build`).
// They end with the test.
func APIServer(t testing.TB) (kubeconfig string) {
	t.Helper()
	bin := kubernetesBinaries(t)
	dir := t.TempDir()
	etcdURL, peerURL := "http://"+freeAddress(t), "http://"+freeAddress(t)
	spawn(t, dir, filepath.Join(bin, "server"), "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "default="+peerURL)
	awaitOK(t, etcdURL+"/health", "")

	key := filepath.Join(dir, "service-account.key")
	writeKey(t, key)
	tokens := filepath.Join(dir, "tokens.csv")
	write(t, tokens, "test-token,test,test,system:masters\n")
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	spawn(t, dir, filepath.Join(bin, "kube-apiserver"), "--etcd-servers", etcdURL, "--cert-dir", filepath.Join(dir, "certs"),
		"--bind-address", "127.0.0.1", "--secure-port", port, "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-cluster-ip-range", "10.96.0.0/16", "--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", key, "--service-account-signing-key-file", key, "--allow-privileged=true")
	awaitOK(t, "https://"+address+"/readyz", "test-token")

	kubeconfig = filepath.Join(dir, "kubeconfig")
	write(t, kubeconfig, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: test-token}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, address))
	spawn(t, dir, filepath.Join(bin, "kube-controller-manager"), "--kubeconfig", kubeconfig, "--leader-elect=false", "--bind-address", "127.0.0.1",
		"--secure-port", "0", "--service-account-private-key-file", key)
	return kubeconfig
}

// kubernetesBinaries is the folder of the kit's Kubernetes programs.
func kubernetesBinaries(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "cluster", err.Error())
	}
	found, err := filepath.Glob(filepath.Join(cache, "berth", "offline", "kubernetes", "*", "kube-apiserver"))
	found = slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(filepath.Dir(name), ".part") }) // being built
	if err != nil || len(found) == 0 {
		missing(t, "cluster", "no kube-apiserver in the offline kit's cache; `berth offline build` makes one")
	}
	return filepath.Dir(found[len(found)-1])
}

// spawn starts a program that is killed, by its process, when the test ends.
// Its output goes to a file that is shown when the test fails.
func spawn(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	name := filepath.Base(program)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed" is what we want
		if t.Failed() {
			if raw, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("end of the log of %s:\n%s", name, raw[max(0, len(raw)-4000):])
			}
		}
		_ = log.Close()
	})
}

// awaitOK polls an address until it answers with status 200.
func awaitOK(t testing.TB, url, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), apiServerWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // our own child on loopback
	var last string
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			last = resp.Status + " " + string(body)
		} else {
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not answer within %s: %s", url, apiServerWithin, last)
		case <-tick.C:
		}
	}
}

// freeAddress is an address of loopback that nothing listened on just now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeKey(t testing.TB, path string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
