package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// A bench is a project on the real cluster, and the command line in its
// directory.
type bench struct {
	*apply.Project
	kube    *kube.Client
	cluster string
	dir     string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("berth-cli-%d", os.Getpid())
	b := &bench{apply.New(client, name, name, progress.Discard), client, cluster, t.TempDir()}
	compose := "name: " + name + "\nservices:\n  web: {image: x}\n  other: {image: x}\n"
	if err := os.WriteFile(filepath.Join(b.dir, "compose.yaml"), []byte(compose), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if _, err := b.Delete(ctx, true); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return b
}

// deploy brings up `web`: two pods that say who they are, count, and answer
// with an echo to SIGHUP.
func (b *bench) deploy(t *testing.T, greeting string) {
	t.Helper()
	nodes, err := kube.List[corev1.Node](t.Context(), b.kube, "", "")
	if err != nil {
		t.Fatal(err)
	}
	image := ""
	for _, i := range nodes[0].Status.Images {
		for _, name := range i.Names {
			if strings.Contains(name, "helper") && !strings.Contains(name, "@") {
				image = name
			}
		}
	}
	if image == "" {
		t.Skip("needs cluster: no node has an image with a shell")
	}
	labels := map[string]string{model.LabelService: "web", model.LabelProject: b.Namespace()}
	two, grace := int32(2), int64(1)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: labels}, Spec: appsv1.DeploymentSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "web", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"sh", "-c", `trap 'echo hung up' HUP; echo ` + greeting + `; while true; do sleep 0.2; done`}}},
		}}}}
	if _, err := b.Apply(t.Context(), []model.Object{d}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := b.Wait(ctx, "web", model.WaitHealthy, progress.Discard); err != nil {
		t.Fatal(err)
	}
}

// berth runs one command line.
func (b *bench) berth(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errOut safeBuffer
	status = b.main(ctx, &out, &errOut, args...)
	return out.String(), errOut.String(), status
}

func (b *bench) main(ctx context.Context, out, errOut io.Writer, args ...string) int {
	s := Streams{In: strings.NewReader(""), Out: out, Err: errOut, Env: os.Environ(), Dir: b.dir}
	return Main(ctx, s, append([]string{"--cluster", b.cluster, "--progress", "plain"}, args...))
}

// safeBuffer is output that a test waits for.
type safeBuffer struct{ testneed.Buffer }

func (s *safeBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); !strings.Contains(s.String(), text); {
		select {
		case <-ctx.Done():
			t.Fatalf("never saw %q in\n%s", text, s.String())
		case <-tick.C:
		}
	}
}

func (b *bench) pods(t *testing.T) []string {
	t.Helper()
	out, errOut, status := b.berth(t, "ps", "-q", "--status", "running")
	if status != 0 {
		t.Fatalf("ps: %d %s", status, errOut)
	}
	return strings.Fields(out)
}

// TestServiceVerbsOnCluster runs the verbs one after another on one project.
func TestServiceVerbsOnCluster(t *testing.T) {
	b := newBench(t)
	b.deploy(t, "hello")
	t.Run("ps", b.testPs)
	t.Run("exec", b.testExec)
	t.Run("run", b.testRun)
	t.Run("top", b.testTop)
	t.Run("logs", b.testLogs)
	t.Run("logs -f outlives its pods, kill", b.testFollowAndKill)
	t.Run("kill -s HUP", b.testSignal)
	t.Run("events", b.testEvents)
	t.Run("port-forward", b.testPortForward)
	t.Run("scale", b.testScale)
	t.Run("stop and start", b.testStopStart)
	t.Run("rollback", b.testRollback)
	t.Run("restart", b.testRestart)
	t.Run("names", b.testNames)
}

func (b *bench) testPs(t *testing.T) {
	out, errOut, status := b.berth(t, "ps")
	if status != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "Up ") || !strings.Contains(out, b.cluster+"-worker") {
		t.Errorf("status %d\n%s%s", status, out, errOut)
	}
	out, _, _ = b.berth(t, "ps", "--format", "json")
	for line := range strings.Lines(out) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil || row["Service"] != "web" || row["State"] != "running" {
			t.Errorf("%v in %s", err, line)
		}
	}
	if out, _, _ := b.berth(t, "ps", "--services"); out != "web\n" {
		t.Errorf("services %q", out)
	}
}

func (b *bench) testExec(t *testing.T) {
	out, errOut, status := b.berth(t, "exec", "web", "sh", "-c", "echo out; echo err >&2; exit 17")
	if out != "out\n" || !strings.HasSuffix(errOut, "err\n") || status != 17 {
		t.Errorf("%q, %q, %d", out, errOut, status)
	}
	if out, errOut, status := b.berth(t, "exec", "-w", "/etc", "web", "sh", "-c", "echo $PWD"); out != "/etc\n" || status != 0 {
		t.Errorf("%q, %q, %d", out, errOut, status)
	}
	if _, errOut, status := b.berth(t, "exec", "web", "nosuchprogram"); status != exitNotFound || !strings.Contains(errOut, "nosuchprogram") {
		t.Errorf("%q, %d", errOut, status)
	}
	for user, uid := range map[string]string{"nobody": "65534", "12:34": "12"} {
		out, errOut, status := b.berth(t, "exec", "-u", user, "-e", "A=1", "-w", "/etc", "web", "sh", "-c", `while read key one _; do case $key in Uid:) uid=$one;; Groups:) echo $uid $A $PWD "[$one]";; esac; done < /proc/self/status; exit 3`)
		if out != uid+" 1 /etc []\n" || status != 3 { // none of the groups of the container's own user
			t.Errorf("as %s: %q, %q, %d", user, out, errOut, status)
		}
	}
	if out, errOut, status := b.berth(t, "exec", "-d", "--index", "1", "web", "sh", "-c", "echo noise; echo ran > /tmp/detached; exec sleep 1000"); out != "" || status != 0 {
		t.Errorf("detached: %q, %q, %d", out, errOut, status)
	}
	if out, errOut, _ := b.berth(t, "exec", "--index", "1", "web", "sh", "-c", "until [ -s /tmp/detached ]; do sleep 0.1; done; cat /tmp/detached"); out != "ran\n" {
		t.Errorf("the detached command has not run: %q, %q", out, errOut)
	}
	pods := b.pods(t)
	if out, _, _ := b.berth(t, "exec", "--index", "2", "web", "cat", "/etc/hostname"); strings.TrimSpace(out) != pods[1] {
		t.Errorf("second pod is %q of %v", out, pods)
	}
}

func (b *bench) testRun(t *testing.T) {
	if err := os.WriteFile(filepath.Join(b.dir, "run.env"), []byte("FROM_FILE=file\nBOTH=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errOut, _ := b.berth(t, "run", "--env-from-file", "run.env", "-e", "BOTH=flag", "--entrypoint", "sh", "web", "-c", "echo $FROM_FILE $BOTH"); out != "file flag\n" {
		t.Errorf("variables of a file: %q, %q", out, errOut)
	}
	out, errOut, status := b.berth(t, "run", "-e", "WHO=me", "-w", "/etc", "--entrypoint", "sh", "web", "-c", "echo $WHO in $PWD; exit 5")
	if out != "me in /etc\n" || status != 5 {
		t.Errorf("%q, %q, %d", out, errOut, status)
	}
	var echoed safeBuffer
	s := Streams{In: strings.NewReader("first\nlast\n"), Out: &echoed, Err: io.Discard, Env: os.Environ(), Dir: b.dir}
	if status := Main(t.Context(), s, []string{"--cluster", b.cluster, "run", "-T", "--entrypoint", "cat", "web"}); status != 0 || echoed.String() != "first\nlast\n" {
		t.Errorf("%q, %d", echoed.String(), status)
	}
	if _, errOut, status := b.berth(t, "run", "--entrypoint", "/no/such", "web"); status != 1 || !strings.Contains(errOut, "/no/such") {
		t.Errorf("%q, %d", errOut, status)
	}
	pods, err := kube.List[corev1.Pod](t.Context(), b.kube, b.Namespace(), apply.LabelOneOff)
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil {
			t.Errorf("pod %s is left", pod.Name)
		}
	}
	if got := len(b.pods(t)); got != 2 {
		t.Errorf("ps counts %d pods", got)
	}
}

func (b *bench) testTop(t *testing.T) {
	out, errOut, status := b.berth(t, "top", "web")
	if status != 0 || strings.Count(out, "web (web-") != 2 || strings.Count(out, "sleep") < 2 {
		t.Errorf("%d\n%s%s", status, out, errOut)
	}
}

func (b *bench) testLogs(t *testing.T) {
	out, errOut, status := b.berth(t, "logs", "web", "-n", "1")
	if status != 0 || strings.Count(out, "| hello\n") != 2 || !strings.HasPrefix(out, "web-") {
		t.Errorf("%d\n%s%s", status, out, errOut)
	}
	if out, _, _ := b.berth(t, "logs", "--no-log-prefix"); out != "hello\nhello\n" {
		t.Errorf("%q", out)
	}
	if out, _, _ := b.berth(t, "logs", "--no-log-prefix", "-t", "--index", "1", "web"); !strings.HasPrefix(out, "20") || !strings.HasSuffix(out, "Z hello\n") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	if out, _, status := b.berth(t, "logs", "other"); out != "" || status != 0 {
		t.Errorf("%q, %d", out, status)
	}
}

func (b *bench) testFollowAndKill(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out safeBuffer
	done := make(chan int, 1)
	go func() { done <- b.main(ctx, &out, io.Discard, "logs", "-f", "--no-log-prefix", "-n", "0", "web") }()
	before := b.pods(t)
	if _, errOut, status := b.berth(t, "kill", "web"); status != 0 {
		t.Fatalf("kill: %d %s", status, errOut)
	}
	out.waitFor(t, "hello\nhello\n") // of the pods that took their place
	cancel()
	if status := <-done; status != 0 || strings.Count(out.String(), "hello") != 2 {
		t.Errorf("status %d, %q", status, out.String())
	}
	wctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := b.Wait(wctx, "web", model.WaitHealthy, progress.Discard); err != nil {
		t.Fatal(err)
	}
	for _, pod := range b.pods(t) {
		if pod == before[0] || pod == before[1] {
			t.Errorf("pod %s was not replaced", pod)
		}
	}
}

func (b *bench) testSignal(t *testing.T) {
	if _, errOut, status := b.berth(t, "kill", "-s", "SIGHUP", "web"); status != 0 {
		t.Fatalf("%d %s", status, errOut)
	}
	for range 50 {
		if out, _, _ := b.berth(t, "logs", "web"); strings.Count(out, "hung up") == 2 {
			return
		}
	}
	t.Error("the signal did not arrive")
}

func (b *bench) testEvents(t *testing.T) {
	out, errOut, status := b.berth(t, "events", "--follow=false", "web")
	if status != 0 || !strings.Contains(out, "Pod/web-") || !strings.Contains(out, "Started") {
		t.Errorf("%d\n%s%s", status, out, errOut)
	}
	out, _, _ = b.berth(t, "events", "--follow=false", "--format", "json")
	for line := range strings.Lines(out) {
		var e eventJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Object == "" || e.Time.IsZero() {
			t.Errorf("%v in %s", err, line)
		}
	}
}

func (b *bench) testPortForward(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out safeBuffer
	done := make(chan int, 1)
	go func() { done <- b.main(ctx, &out, io.Discard, "port-forward", "web", ":1234") }()
	out.waitFor(t, " -> web:1234")
	address := strings.Fields(out.String())[1]
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d", status)
	}
}

func (b *bench) testScale(t *testing.T) {
	for _, n := range []int{3, 1, 2} {
		if _, errOut, status := b.berth(t, "scale", fmt.Sprintf("web=%d", n)); status != 0 {
			t.Fatalf("%d %s", status, errOut)
		}
		if got := len(b.pods(t)); got != n {
			t.Errorf("%d pods run, want %d", got, n)
		}
	}
}

func (b *bench) testStopStart(t *testing.T) {
	if _, errOut, status := b.berth(t, "stop"); status != 0 {
		t.Fatalf("%d %s", status, errOut)
	}
	out, _, _ := b.berth(t, "ps", "-a", "--status", "stopped", "--services")
	if out != "web\n" || len(b.pods(t)) != 0 {
		t.Errorf("stopped: %q, pods %v", out, b.pods(t))
	}
	if _, errOut, status := b.berth(t, "exec", "web", "true"); status != 1 || !strings.Contains(errOut, "does not run") {
		t.Errorf("exec: %d %s", status, errOut)
	}
	if _, errOut, status := b.berth(t, "start"); status != 0 || len(b.pods(t)) != 2 {
		t.Errorf("start: %d %s, pods %v", status, errOut, b.pods(t))
	}
}

func (b *bench) testRollback(t *testing.T) {
	b.deploy(t, "goodbye")
	out, _, status := b.berth(t, "rollback", "--list", "web")
	if status != 0 || !strings.Contains(out, "current") || strings.Count(out, "\n") != 3 {
		t.Fatalf("%d\n%s", status, out)
	}
	out, _, status = b.berth(t, "rollback", "--list", "--format", "json", "web")
	var list []struct {
		Revision int
		Image    string
		Current  bool
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 || len(list) != 2 || !list[0].Current || list[1].Revision != 1 || list[1].Image == "" {
		t.Fatalf("%d %v\n%s", status, err, out)
	}
	if _, errOut, status := b.berth(t, "rollback", "web"); status != 0 || !strings.Contains(errOut, "revision 1") {
		t.Fatalf("%d %s", status, errOut)
	}
	for _, pod := range b.pods(t) {
		lines, err := b.kube.LastLines(t.Context(), b.Namespace(), pod, "web", false, 5)
		if err != nil || strings.Join(lines, "") != "hello" {
			t.Errorf("pod %s says %v, %v", pod, lines, err)
		}
	}
	if _, errOut, status := b.berth(t, "rollback", "web", "--to", "77"); status != 1 || !strings.Contains(errOut, "there is no revision 77") {
		t.Errorf("%d %s", status, errOut)
	}
}

func (b *bench) testRestart(t *testing.T) {
	before := b.pods(t)
	if _, errOut, status := b.berth(t, "restart", "web"); status != 0 {
		t.Fatalf("%d %s", status, errOut)
	}
	for _, pod := range b.pods(t) {
		if strings.Contains(strings.Join(before, " "), pod) {
			t.Errorf("pod %s was not replaced", pod)
		}
	}
}

func (b *bench) testNames(t *testing.T) {
	for _, args := range [][]string{{"ps", "wbe"}, {"logs", "wbe"}, {"exec", "wbe", "true"}, {"restart", "wbe"}, {"scale", "wbe=1"}, {"stop", "wbe"}, {"wait", "wbe"}} {
		if _, errOut, status := b.berth(t, args...); status != 1 || !strings.Contains(errOut, `no service "wbe" in the project`) || !strings.Contains(errOut, `did you mean "web"?`) {
			t.Errorf("%v: %d %s", args, status, errOut)
		}
	}
	if _, errOut, status := b.berth(t, "restart", "other"); status != 1 || !strings.Contains(errOut, `service "other" is not in the cluster`) {
		t.Errorf("%d %s", status, errOut)
	}
}
