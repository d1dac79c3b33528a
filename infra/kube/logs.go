package kube

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// LogOptions choose lines of a container's log.
type LogOptions struct {
	Container string    // "" where the pod has one
	Follow    bool      // go on with new lines, through restarts of the container, until the pod is gone
	Since     time.Time // only lines written later; zero for all
	Until     time.Time // only lines written earlier; zero for all
	Tail      int       // only the last lines of what is there; negative for all
	Previous  bool      // of the container's last incarnation alone
	Earlier   bool      // of the container's last incarnation too, first
}

// A LogLine is one line of a container's log, without its line end.
type LogLine struct {
	Pod, Container string
	Time           time.Time // when it was written
	Text           string
}

// Logs passes the lines of a container's log to emit, in order. While it
// follows, a broken connection is taken up again without a gap and without a
// repeated line. It returns nil when the log is at its end.
func (c *Client) Logs(ctx context.Context, namespace, pod string, o LogOptions, emit func(LogLine)) error {
	f := &logFollower{client: c, namespace: namespace, pod: pod, options: o, emit: emit, last: o.Since}
	if o.Tail == 0 && f.last.IsZero() {
		f.last = time.Now()
	}
	if o.Earlier {
		if err := f.earlier(ctx); err != nil {
			return err
		}
	}
	if o.Follow {
		return f.follow(ctx)
	}
	_, err := f.stream(ctx, o.Tail, o.Previous)
	if err == nil && o.Earlier {
		err = f.previous(ctx, -1) // it may have begun anew between the two
	}
	return err
}

// earlier passes on the lines of the container's last incarnation, as Docker's
// logs begin with them; of a number of last lines those for which the current one
// leaves room. That there was none is no error.
func (f *logFollower) earlier(ctx context.Context) error {
	tail := f.options.Tail
	if tail >= 0 {
		current := LogOptions{Container: f.options.Container, Since: f.options.Since, Until: f.options.Until, Tail: tail}
		err := f.client.Logs(ctx, f.namespace, f.pod, current, func(LogLine) { tail-- })
		if err != nil || tail <= 0 {
			return ctx.Err() // what is wrong with the log is told when it is printed
		}
	}
	return f.previous(ctx, tail)
}

// previous passes on what is new of the container's last incarnation, if there
// was one.
func (f *logFollower) previous(ctx context.Context, tail int) error {
	_, err := f.stream(ctx, tail, true)
	if apierrors.IsBadRequest(err) || IsNotFound(err) {
		return nil
	}
	return err
}

// LastLines returns the last n lines of a container's log, of its previous
// incarnation when it runs anew.
func (c *Client) LastLines(ctx context.Context, namespace, pod, container string, previous bool, n int) ([]string, error) {
	var lines []string
	err := c.Logs(ctx, namespace, pod, LogOptions{Container: container, Tail: n, Previous: previous}, func(l LogLine) {
		lines = append(lines, l.Text)
	})
	return lines, err
}

type logFollower struct {
	client    *Client
	namespace string
	pod       string
	options   LogOptions
	emit      func(LogLine)

	last   time.Time // of the last line passed on
	atLast int       // lines passed on that bear that time
}

// follow streams until the container has ended for good. A refusal is final only
// at the beginning: an API server that has just started knows no roles yet.
func (f *logFollower) follow(ctx context.Context) error {
	tail, restarts, allowed := f.options.Tail, int32(-1), false
	delay := 100 * time.Millisecond
	for {
		status, alive, err := f.status(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case IsNotFound(err):
			return nil
		case err == nil && restarts >= 0 && status.RestartCount > restarts:
			// The rest of the incarnation that ended while nobody listened.
			if _, err := f.stream(ctx, -1, true); err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if err == nil && (status.State.Running != nil || status.State.Terminated != nil) {
			restarts, allowed = status.RestartCount, true
			var lines int
			if lines, err = f.stream(ctx, tail, false); err == nil {
				tail = -1
				if !alive {
					return nil
				}
			}
			if lines > 0 {
				delay = 100 * time.Millisecond
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refused := apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
		if err != nil && !laterPerhaps(err) && (!refused || !allowed) {
			return err
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
		delay = min(2*delay, 2*time.Second)
	}
}

// laterPerhaps reports whether a log that cannot be read now may be read later:
// an internal error is what the API server makes of a kubelet that does not
// answer, because its node has stopped.
func laterPerhaps(err error) bool {
	return passing(err) || apierrors.IsBadRequest(err) || apierrors.IsInternalError(err) || errors.Is(err, io.ErrUnexpectedEOF)
}

// status is the container's status and whether it runs or will run again.
func (f *logFollower) status(ctx context.Context) (corev1.ContainerStatus, bool, error) {
	raw, err := f.client.rest.Get().AbsPath("/api/v1/namespaces/" + f.namespace + "/pods/" + f.pod).MaxRetries(0).Do(ctx).Raw()
	if err != nil {
		if apierrors.IsNotFound(err) {
			return corev1.ContainerStatus{}, false, err
		}
		return corev1.ContainerStatus{}, true, err
	}
	pod, err := decode[corev1.Pod](raw)
	if err != nil {
		return corev1.ContainerStatus{}, false, err
	}
	ended := pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	for _, s := range append(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses...) {
		if f.options.Container != "" && s.Name != f.options.Container {
			continue
		}
		again := !ended && (s.State.Terminated == nil || pod.Spec.RestartPolicy == corev1.RestartPolicyAlways ||
			(pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && s.State.Terminated.ExitCode != 0))
		return s, again || (s.State.Running != nil && pod.DeletionTimestamp != nil), nil
	}
	return corev1.ContainerStatus{}, !ended, nil
}

// stream passes on one answer of the API server, leaving out what was passed
// on before, and says how many lines that were.
func (f *logFollower) stream(ctx context.Context, tail int, previous bool) (int, error) {
	r := f.client.rest.Get().AbsPath("/api/v1/namespaces/"+f.namespace+"/pods/"+f.pod+"/log").Param("timestamps", "true")
	if f.options.Container != "" {
		r = r.Param("container", f.options.Container)
	}
	if f.options.Follow && !previous {
		r = r.Param("follow", "true")
	}
	if previous {
		r = r.Param("previous", "true")
	}
	if tail >= 0 {
		r = r.Param("tailLines", strconv.Itoa(tail))
	}
	if !f.last.IsZero() {
		// Whole seconds are all that the API takes: what came twice is left out below.
		r = r.Param("sinceTime", f.last.UTC().Truncate(time.Second).Format(time.RFC3339))
	}
	body, err := r.Stream(ctx)
	if err != nil {
		return 0, f.client.explain(err)
	}
	defer body.Close()
	return f.pass(bufio.NewReaderSize(body, 64<<10))
}

func (f *logFollower) pass(lines *bufio.Reader) (int, error) {
	from, skip, passed := f.last, f.atLast, 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return passed, err // a line cut off by a broken connection comes again
		}
		if line == "" {
			return passed, nil
		}
		at, text := splitTime(strings.TrimSuffix(line, "\n"))
		switch {
		case at.IsZero():
			continue // the kubelet's own words: the container is gone
		case !f.options.Until.IsZero() && at.After(f.options.Until):
			return passed, nil
		case at.Before(from):
			continue
		case at.Equal(from) && skip > 0:
			skip--
			continue
		}
		if at.After(f.last) { // the two streams of a process may be microseconds out of order
			f.last, f.atLast = at, 1
		} else if at.Equal(f.last) {
			f.atLast++
		}
		passed++
		f.emit(LogLine{Pod: f.pod, Container: f.options.Container, Time: at, Text: text})
	}
}

// splitTime separates the time stamp that the kubelet puts before a line.
func splitTime(line string) (time.Time, string) {
	stamp, text, ok := strings.Cut(line, " ")
	if !ok {
		stamp = line
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}, line
	}
	return at, text
}
