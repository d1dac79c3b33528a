package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// stamp is the time of the n-th second, as the kubelet writes it.
func stamp(n int) string {
	return time.Date(2026, 3, 1, 12, 0, n, 500, time.UTC).Format(time.RFC3339Nano)
}

func TestLinesArePassedOnOnce(t *testing.T) {
	var got []string
	f := &logFollower{emit: func(l LogLine) { got = append(got, l.Text) }}
	answers := []string{
		fmt.Sprintf("%s a\n%s b1\n%s b2\n%s cut o", stamp(1), stamp(2), stamp(2), stamp(3)),     // broken off inside a line
		fmt.Sprintf("%s a\n%s b1\n%s b2\n%s cut off\n", stamp(1), stamp(2), stamp(2), stamp(3)), // the connection is back
		fmt.Sprintf("%s b1\n%s b2\n%s cut off\n%s \n%s end", stamp(2), stamp(2), stamp(3), stamp(4), stamp(5)),
	}
	for i, answer := range answers {
		r := strings.NewReader(answer)
		if i == 0 {
			_, _ = f.pass(bufio.NewReader(&breaking{r}))
			continue
		}
		if _, err := f.pass(bufio.NewReader(r)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "a|b1|b2|cut off||end"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
}

// breaking is a connection that breaks after what it has.
type breaking struct{ r *strings.Reader }

func (b *breaking) Read(p []byte) (int, error) {
	if b.r.Len() == 0 {
		return 0, fmt.Errorf("connection reset by peer")
	}
	return b.r.Read(p)
}

func TestLogsAreMergedByTime(t *testing.T) {
	source := func(name string, seconds ...int) *logSource {
		s := &logSource{pod: &corev1.Pod{}, lines: make(chan LogLine, len(seconds))}
		for _, n := range seconds {
			s.lines <- LogLine{Time: time.Unix(int64(n), 0), Text: fmt.Sprint(name, n)}
		}
		close(s.lines)
		return s
	}
	var got []string
	err := mergeLogs(t.Context(), []*logSource{source("a", 1, 4, 9), source("b"), source("c", 2, 3, 10)}, func(_ *corev1.Pod, l LogLine) { got = append(got, l.Text) })
	if err != nil || strings.Join(got, " ") != "a1 c2 c3 a4 a9 c10" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTimeIsSplitFromALine(t *testing.T) {
	for line, want := range map[string]string{
		stamp(1) + " hello  world": "hello  world", stamp(1): "", stamp(1) + " ": "", "no stamp": "no stamp",
	} {
		if _, text := splitTime(line); text != want {
			t.Errorf("%q: %q, want %q", line, text, want)
		}
	}
}

// logServer answers for the pod web, which runs, and for its log by turns.
func logServer(t *testing.T, log func(turn int32, w http.ResponseWriter, r *http.Request)) *Client {
	t.Helper()
	var turn atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/log") {
			log(turn.Add(1), w, r)
			return
		}
		status := corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
		_ = json.NewEncoder(w).Encode(corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web"},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{status}},
		})
	}))
	t.Cleanup(server.Close)
	client, err := newClient(&rest.Config{Host: server.URL}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestFollowedLogsOutliveTheirNode(t *testing.T) {
	client := logServer(t, func(turn int32, w http.ResponseWriter, _ *http.Request) {
		switch turn {
		case 1:
			fmt.Fprintf(w, "%s one\n", stamp(1)) // and the node stops
		case 2, 3:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
				Message: `Get "https://10.0.0.3:10250/containerLogs/ns/web/app": dial tcp 10.0.0.3:10250: connect: no route to host`,
			})
		default:
			fmt.Fprintf(w, "%s one\n%s two\n", stamp(1), stamp(2))
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err := client.Logs(ctx, "ns", "web", LogOptions{Container: "app", Follow: true, Tail: -1}, func(l LogLine) {
		if got = append(got, l.Text); l.Text == "two" {
			cancel()
		}
	})
	if strings.Join(got, " ") != "one two" || ctx.Err() == nil {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestPodsMadeSinceAreReadFromTheirBeginning(t *testing.T) {
	begun := time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)
	pod := func(name string, made time.Time) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(made)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
			Status: corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{
				{Name: "app", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
			}},
		}
	}
	pods := map[string]corev1.Pod{"old": pod("old", begun.Add(-time.Hour)), "new": pod("new", begun.Truncate(time.Second))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isLog := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/ns/pods/"), "/log")
		switch {
		case isLog && r.URL.Query().Get("tailLines") == "":
			fmt.Fprintf(w, "%s %s began\n%s %s went on\n", stamp(1), name, stamp(2), name)
		case isLog:
			fmt.Fprintf(w, "%s %s went on\n", stamp(2), name)
		case r.URL.Query().Get("watch") != "":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case pods[name].Name != "":
			_ = json.NewEncoder(w).Encode(pods[name])
		default:
			_ = json.NewEncoder(w).Encode(corev1.PodList{Items: []corev1.Pod{pods["old"], pods["new"]}})
		}
	}))
	defer server.Close()
	client, err := newClient(&rest.Config{Host: server.URL}, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	_ = client.Tail(ctx, "ns", TailOptions{
		LogOptions: LogOptions{Follow: true, Tail: 1}, Whole: begun,
		Want: func(*corev1.Pod, string) bool { return true },
	}, func(_ *corev1.Pod, l LogLine) {
		if got = append(got, l.Text); len(got) == 3 {
			cancel()
		}
	})
	slices.Sort(got)
	if want := "new began|new went on|old went on"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
}
