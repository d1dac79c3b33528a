package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/testneed"
)

// lab is a namespace of the real cluster with pods that run scripts.
type lab struct {
	*Client
	namespace string
	image     string
}

func TestOnCluster(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	c, err := New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := lab{Client: c, namespace: fmt.Sprintf("berth-kube-%d", os.Getpid())}
	if l.image = shellImage(t, c); l.image == "" {
		t.Skip("needs cluster: no node has an image with a shell")
	}
	if _, err := c.Create(t.Context(), manifest(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.namespace}})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := c.Delete(ctx, model.ObjectKey{Kind: "Namespace", Name: l.namespace}, DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	for name, test := range map[string]func(*testing.T, lab){
		"ExecPassesStreamsAndStatusOn":      testExec,
		"ExecOfWhatIsNotThereIsAnError":     testExecMissing,
		"LogsHaveTailSinceAndPrevious":      testLogs,
		"FollowedLogsSurviveRestarts":       testLogsRestart,
		"TailFollowsNewPods":                testTailNewPods,
		"FollowedLogsSurviveLostConnection": testLogsReconnect,
		"LogsBeginBeforeARestart":           testLogsEarlier,
		"PortForwardOutlivesThePod":         testPortForward,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, l) })
	}
}

func shellImage(t *testing.T, c *Client) string {
	nodes, err := List[corev1.Node](t.Context(), c, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range nodes[0].Status.Images {
		for _, name := range image.Names {
			if strings.Contains(name, "helper") && !strings.Contains(name, "@") {
				return name
			}
		}
	}
	return ""
}

// run starts a pod that runs a script and waits until it runs or has ended.
func (l lab) run(t *testing.T, name, script string) *corev1.Pod {
	t.Helper()
	grace := int64(1)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name, Labels: map[string]string{"app": strings.Split(name, ".")[0]}},
		Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "main", Image: l.image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sh", "-c", script}}}}}
	if _, err := l.Create(t.Context(), manifest(t, l.Client, pod)); err != nil {
		t.Fatal(err)
	}
	var got *corev1.Pod
	l.eventually(t, "pod "+name+" runs", func(ctx context.Context) bool {
		var err error
		got, err = Get[corev1.Pod](ctx, l.Client, l.namespace, name)
		return err == nil && got.Status.Phase == corev1.PodRunning && len(got.Status.ContainerStatuses) > 0
	})
	return got
}

func (l lab) eventually(t *testing.T, what string, f func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for !f(ctx) {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func (l lab) exec(t *testing.T, pod, stdin string, command ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	o := ExecOptions{Command: command, Stdout: &out, Stderr: &errOut}
	if stdin != "" {
		o.Stdin = strings.NewReader(stdin)
	}
	err = l.Exec(t.Context(), l.namespace, pod, o)
	return out.String(), errOut.String(), err
}

func testExec(t *testing.T, l lab) {
	l.run(t, "exec", "sleep 1000")
	out, errOut, err := l.exec(t, "exec", "hello", "sh", "-c", "cat; echo problem >&2; exit 42")
	var status *ExitError
	if out != "hello" || errOut != "problem\n" || !errors.As(err, &status) || status.Code != 42 {
		t.Errorf("out %q, err %q, %v", out, errOut, err)
	}
	if _, _, err := l.exec(t, "exec", "", "true"); err != nil {
		t.Error(err)
	}
	big := strings.Repeat("0123456789abcdef", 100_000)
	if out, _, err := l.exec(t, "exec", big, "cat"); err != nil || out != big {
		t.Errorf("%d bytes of %d came back, %v", len(out), len(big), err)
	}
	var tty bytes.Buffer
	sizes := make(chan TerminalSize, 1)
	sizes <- TerminalSize{Width: 101, Height: 33}
	keyboard, typist := io.Pipe() // a terminal's input does not end
	defer typist.Close()
	go func() { _, _ = io.WriteString(typist, "typed\n") }()
	err = l.Exec(t.Context(), l.namespace, "exec", ExecOptions{Command: []string{"sh", "-c", "test -t 0 && echo a terminal || echo none; read x; echo got $x; exit 3"}, Stdin: keyboard, Stdout: &tty, TTY: true, Sizes: sizes})
	if !errors.As(err, &status) || status.Code != 3 || !strings.Contains(tty.String(), "a terminal") || !strings.Contains(tty.String(), "got typed") {
		t.Errorf("out %q, %v", tty.String(), err)
	}
}

func testExecMissing(t *testing.T, l lab) {
	l.run(t, "missing", "sleep 1000")
	_, _, err := l.exec(t, "missing", "", "nosuchprogram")
	if err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("error %v", err)
	}
	if _, _, err := l.exec(t, "nosuchpod", "", "true"); err == nil || !strings.Contains(err.Error(), `pods "nosuchpod" not found`) {
		t.Errorf("error %v", err)
	}
}

// lines collects a log's text.
func (l lab) lines(t *testing.T, pod string, o LogOptions) string {
	t.Helper()
	var got []string
	if err := l.Logs(t.Context(), l.namespace, pod, o, func(line LogLine) { got = append(got, line.Text) }); err != nil {
		t.Error(err)
	}
	return strings.Join(got, " ")
}

func testLogs(t *testing.T, l lab) {
	l.run(t, "logs", "if mkdir /tmp/x 2>/dev/null; then echo one; echo two; echo three; fi; sleep 1000")
	l.eventually(t, "three lines", func(context.Context) bool { return l.lines(t, "logs", LogOptions{Tail: -1}) == "one two three" })
	if got := l.lines(t, "logs", LogOptions{Tail: 1}); got != "three" {
		t.Errorf("tail: %q", got)
	}
	if got := l.lines(t, "logs", LogOptions{Tail: -1, Since: time.Now().Add(time.Minute)}); got != "" {
		t.Errorf("since: %q", got)
	}
	if got := l.lines(t, "logs", LogOptions{Tail: -1, Until: time.Now().Add(-time.Hour)}); got != "" {
		t.Errorf("until: %q", got)
	}
}

// collector gathers followed lines.
type collector struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *collector) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.WriteString(line + " ")
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(c.text.String())
}

func testLogsRestart(t *testing.T, l lab) {
	pod := l.run(t, "restarts", "n=$(cat /proc/sys/kernel/random/uuid); for i in 1 2 3; do echo $n.$i; sleep 0.2; done; sleep 1; exit 1")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var got []string
	err := l.Logs(ctx, l.namespace, pod.Name, LogOptions{Follow: true, Tail: -1}, func(line LogLine) {
		got = append(got, line.Text)
		if len(got) == 6 {
			cancel()
		}
	})
	if len(got) != 6 || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", got, err)
	}
	for i, line := range got { // two incarnations, each complete and in order
		incarnation, n, _ := strings.Cut(line, ".")
		first, _, _ := strings.Cut(got[i/3*3], ".")
		if incarnation != first || n != fmt.Sprint(i%3+1) {
			t.Errorf("line %d is %q in %v", i, line, got)
		}
	}
}

func testTailNewPods(t *testing.T, l lab) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	var got collector
	done := make(chan error, 1)
	l.run(t, "tail.1", "echo first; sleep 1000")
	go func() {
		done <- l.Tail(ctx, l.namespace, TailOptions{LogOptions: LogOptions{Follow: true, Tail: -1}, Selector: "app=tail",
			Want: func(*corev1.Pod, string) bool { return true }}, func(pod *corev1.Pod, line LogLine) { got.add(pod.Name + "=" + line.Text) })
	}()
	l.eventually(t, "the first pod's line", func(context.Context) bool { return got.String() == "tail.1=first" })
	if err := l.Delete(ctx, model.ObjectKey{Kind: "Pod", Namespace: l.namespace, Name: "tail.1"}, DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.run(t, "tail.2", "echo second; sleep 1000")
	l.eventually(t, "the second pod's line", func(context.Context) bool { return got.String() == "tail.1=first tail.2=second" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A cut is a way to the API server that can be cut and mended.
type cut struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func newCut(t *testing.T, server string) *cut {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cut{listener: listener}
	t.Cleanup(func() { listener.Close(); c.now() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				conn.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn, up)
			c.mu.Unlock()
			go func() { _, _ = io.Copy(up, conn); up.Close() }()
			go func() { _, _ = io.Copy(conn, up); conn.Close() }()
		}
	}()
	return c
}

// now breaks every connection.
func (c *cut) now() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// testLogsEarlier reads the log of a container that has run twice.
func testLogsEarlier(t *testing.T, l lab) {
	l.run(t, "earlier", "echo begins; echo works; sleep 2; exit 1")
	l.eventually(t, "a second run", func(ctx context.Context) bool {
		pod, err := Get[corev1.Pod](ctx, l.Client, l.namespace, "earlier")
		return err == nil && pod.Status.ContainerStatuses[0].RestartCount > 0 && pod.Status.ContainerStatuses[0].State.Running != nil
	})
	for tail, want := range map[int]string{-1: "begins works begins works", 1: "works", 3: "works begins works"} {
		var got []string
		options := LogOptions{Tail: tail, Earlier: true}
		if err := l.Logs(t.Context(), l.namespace, "earlier", options, func(line LogLine) { got = append(got, line.Text) }); err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("the last %d lines are %q, want %q", tail, got, want)
		}
	}
	l.run(t, "once", "echo only; sleep 1000")
	var got []string
	err := l.Logs(t.Context(), l.namespace, "once", LogOptions{Tail: -1, Earlier: true}, func(line LogLine) { got = append(got, line.Text) })
	if err != nil || strings.Join(got, " ") != "only" {
		t.Errorf("of a container that ran once: %q, %v", got, err)
	}
}

func testLogsReconnect(t *testing.T, l lab) {
	pod := l.run(t, "reconnect", "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; echo $i.b; sleep 0.1; done; sleep 1000")
	way := newCut(t, strings.TrimPrefix(l.Server(), "https://"))
	other, err := New("", l.Context())
	if err != nil {
		t.Fatal(err)
	}
	other.config.Host = "https://" + way.listener.Addr().String()
	other.config.ServerName = "127.0.0.1"
	cutClient, err := newClient(other.config, l.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	err = cutClient.Logs(ctx, l.namespace, pod.Name, LogOptions{Follow: true, Tail: -1}, func(line LogLine) {
		got = append(got, line.Text)
		if len(got)%25 == 0 && len(got) < 120 {
			way.now()
		}
		if len(got) == 120 {
			cancel()
		}
	})
	if len(got) != 120 {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	for i, line := range got {
		want := fmt.Sprint(i/2 + 1)
		if i%2 == 1 {
			want += ".b"
		}
		if line != want {
			t.Fatalf("line %d is %q, want %q", i, line, want)
		}
	}
}

func testPortForward(t *testing.T, l lab) {
	// The port is the kubelet's own business; any listener will do, and a
	// refused one shows that errors come through.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pods, err := List[corev1.Pod](t.Context(), l.Client, "kube-system", "k8s-app=kube-dns")
	if err != nil || len(pods) < 2 {
		t.Skipf("needs cluster: two pods that serve HTTP: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var asked []string
	go func() {
		done <- l.PortForward(ctx, Forward{Listener: listener, Namespace: "kube-system", Port: 8080,
			Pod: func(context.Context) (string, error) {
				pod := pods[len(asked)%len(pods)].Name
				asked = append(asked, pod)
				return pod, nil
			}, Lost: func(err error) { t.Log(err) }})
	}()
	for range 5 {
		if got := httpGet(t, listener.Addr().String(), "/health"); !strings.Contains(got, "200 OK") {
			t.Errorf("answer %q", got)
		}
	}
	if len(asked) != 1 {
		t.Errorf("asked for a pod %d times", len(asked))
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	lost := make(chan error, 1)
	go func() {
		done <- l.PortForward(ctx, Forward{Listener: refused, Namespace: "kube-system", Port: 1,
			Pod: func(context.Context) (string, error) { return pods[0].Name, nil }, Lost: func(err error) {
				select {
				case lost <- err:
				default: // the first says why; a retry says it again
				}
			}})
	}()
	_ = httpGet(t, refused.Addr().String(), "/")
	select {
	case err := <-lost:
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("lost by %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a refused connection was not reported")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// httpGet makes one request on a connection of its own and returns the raw
// answer.
func httpGet(t *testing.T, address, path string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
	answer, _ := io.ReadAll(conn) // a reset is an answer as well
	return string(answer)
}
