package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// staticPod is the part of a manifest of kubeadm's that matters here.
const staticPod = `spec:
  containers:
  - name: etcd
    livenessProbe:
      failureThreshold: 8
      initialDelaySeconds: 10
      periodSeconds: 10
      timeoutSeconds: 15
    startupProbe:
      failureThreshold: 24
      httpGet:
        path: /readyz
      initialDelaySeconds: 10
      periodSeconds: 10
      timeoutSeconds: 15
    readinessProbe:
      failureThreshold: 3
      periodSeconds: 1
`

func TestStartupProbesOfStaticPodsAskEverySecond(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etcd.yaml")
	if err := os.WriteFile(file, []byte(staticPod), 0o600); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(staticPod, `      failureThreshold: 24
      httpGet:
        path: /readyz
      initialDelaySeconds: 10
      periodSeconds: 10
`, `      failureThreshold: 240
      httpGet:
        path: /readyz
      initialDelaySeconds: 1
      periodSeconds: 1
`, 1)
	for range 2 { // every start of the node does it
		out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(quickProbes, manifestsDir, dir)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("it is now\n%s", got)
		}
	}
}
