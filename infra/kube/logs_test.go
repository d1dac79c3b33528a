package kube

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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
