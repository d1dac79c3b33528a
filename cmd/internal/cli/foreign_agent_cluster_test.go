package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/agentset"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// bare has no shell, a root that cannot be written, and a user who may not write.
const bare = `
services:
  bare:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        RUN rm $(which sh)
        COPY data /data
        CMD ["busybox", "sleep", "infinity"]
    user: "1000"
    read_only: true
    stop_grace_period: 1s
    develop:
      watch:
        - {action: sync, path: data, target: /data}
`

// TestAgentOnAClusterThatBerthDidNotCreate syncs into an image without a shell,
// also after somebody else took the agent away, and leaves nothing.
func TestAgentOnAClusterThatBerthDidNotCreate(t *testing.T) {
	f := newForeign(t)
	data := filepath.Join(f.dir, "data", "file")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(data), 0o755); err != nil {
		t.Fatal(err)
	}
	write(data, "built\n")
	write(filepath.Join(f.dir, "compose.yaml"), "name: "+f.project+bare)
	output, stop := f.dev(t, "--agent")
	pod := f.podOf(t, "bare")
	gone := func() bool {
		_, err := kube.Get[corev1.Namespace](t.Context(), f.kube, "", agentset.Namespace)
		return kube.IsNotFound(err)
	}
	for _, text := range []string{"one\n", "two\n"} {
		write(data, text)
		f.until(t, "the file is synced: "+text, output, func() bool {
			out, _, _ := f.quietly(t, "exec", "bare", "busybox", "cat", "/data/file")
			return out == text
		})
		if text == "one\n" { // as the end of another dev does
			if err := f.kube.Delete(t.Context(), model.ObjectKey{Kind: "Namespace", Name: agentset.Namespace}, kube.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			f.until(t, "the agent has been taken away", output, gone)
		}
	}
	if again := f.podOf(t, "bare"); again != pod {
		t.Errorf("pod %s became %s: it was rebuilt", pod, again)
	}
	if status := stop(); status != 130 {
		t.Errorf("dev ended with %d", status)
	}
	f.until(t, "the agent has gone", output, gone)
	if !strings.Contains(output(), "with the agent") {
		t.Error("nothing says how files are synced")
	}
	f.berth(t, "down", "--volumes", "--rmi", "local")
}

// dev runs berth dev until stop, which returns its status; the test's end stops it, too.
func (f *foreign) dev(t *testing.T, args ...string) (output func() string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out safeBuffer
	ended := make(chan int, 1)
	go func() {
		s := Streams{In: strings.NewReader(""), Out: &out, Err: &out, Env: os.Environ(), Dir: f.dir}
		ended <- Main(ctx, s, append([]string{"--context", "kind-" + f.cluster, "--progress", "plain", "dev"}, args...))
	}()
	status := -1
	stop = func() int {
		cancel()
		if status < 0 {
			status = <-ended
		}
		return status
	}
	t.Cleanup(func() {
		stop()
		t.Logf("berth dev\n%s", out.String())
	})
	f.until(t, "everything serves", out.String, func() bool { return strings.Contains(out.String(), watching) })
	return out.String, stop
}

// podOf is the name of the service's running pod, "" for none or several.
func (f *foreign) podOf(t *testing.T, service string) string {
	t.Helper()
	pods, err := kube.List[corev1.Pod](t.Context(), f.kube, f.project, model.LabelService+"="+service)
	if err != nil || len(pods) != 1 {
		t.Fatalf("pods of %s: %d, %v", service, len(pods), err)
	}
	return pods[0].Name
}

// quietly is try without a word in the log.
func (f *foreign) quietly(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errOut safeBuffer
	s := Streams{In: strings.NewReader(""), Out: &out, Err: &errOut, Env: os.Environ(), Dir: f.dir}
	status = Main(t.Context(), s, append([]string{"--context", "kind-" + f.cluster, "--progress", "plain"}, args...))
	return out.String(), errOut.String(), status
}

// until waits for a state.
func (f *foreign) until(t *testing.T, what string, output func() string, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 3 minutes: %s\n%s", what, output())
		}
		time.Sleep(100 * time.Millisecond)
	}
}
