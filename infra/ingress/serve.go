package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// pullPatience is how long an image that cannot be pulled is waited for: a
// registry that is slow or limits its rate gets another chance.
const pullPatience = time.Minute

// awaitServing asks the controller over the host's port, as a browser would,
// until it answers, and meanwhile tells what its pod is waiting for.
func awaitServing(ctx context.Context, client *kube.Client, namespace string, port int, task *progress.Task) error {
	state, fails := "its pod is being created", time.Time{}
	for tick := 0; ; tick++ {
		if Answers(ctx, port) {
			return nil
		}
		if tick%10 == 0 { // once a second
			pods, err := kube.List[corev1.Pod](ctx, client, namespace, "")
			if err == nil && len(pods) > 0 {
				state = podState(pods)
			}
			task.Update("waiting for the controller: " + state)
			switch failing := pullFails(state); {
			case !failing:
				fails = time.Time{}
			case fails.IsZero():
				fails = time.Now()
			case time.Since(fails) > pullPatience:
				return problem.New("install the ingress controller", errors.New(state),
					"check the connection, or use --ingress none; `berth offline build` makes a node image that holds a controller")
			}
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return problem.New(fmt.Sprintf("wait for the ingress on http://127.0.0.1:%d", port), errors.New(state),
				fmt.Sprintf("kubectl --context %s -n %s describe pods", client.Context(), namespace))
		case <-timer.C:
		}
	}
}

func pullFails(state string) bool {
	return strings.HasPrefix(state, "ErrImagePull") || strings.HasPrefix(state, "ImagePullBackOff")
}

// Answers reports whether an HTTP server answers on a port of 127.0.0.1. What
// it says does not matter: without any Ingress it is 404.
func Answers(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	// Neither a proxy nor a connection of an earlier try.
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return true
}

// podState says in a few words why the newest of the pods does not serve.
func podState(pods []corev1.Pod) string {
	pod := &pods[0]
	for i := range pods {
		if pods[i].CreationTimestamp.After(pod.CreationTimestamp.Time) {
			pod = &pods[i]
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" {
			return trimmed(w.Reason + ": " + w.Message)
		}
		if s.State.Running != nil && !s.Ready {
			return "it is starting"
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trimmed("not scheduled: " + c.Message)
		}
	}
	switch pod.Status.Phase {
	case corev1.PodPending:
		return "its container is being created"
	case corev1.PodRunning:
		return "its port is being opened"
	}
	return "its pod is " + string(pod.Status.Phase)
}

func trimmed(text string) string {
	const most = 160
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
