package page

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/workshop"
)

// liveWithin bounds how long a page waits for the cluster.
const liveWithin = 3 * time.Second

// live is what is in a learner's namespace.
type live struct {
	Error    string
	Pods     []livePod
	Services []liveService
	URLs     []string
}

type livePod struct{ Class, Name, State, Ready, Restarts, Node string }

type liveService struct{ Name, Type, Ports string }

// showLive sends the live state alone. Its headers tell the script what else
// has changed: the step, and how many messages there are.
func (s *Server) showLive(w http.ResponseWriter, r *http.Request, v visit, session *workshop.Session) error {
	p, err := session.Progress()
	if err != nil {
		return err
	}
	w.Header().Set("Berth-Step", strconv.Itoa(p.Step+1))
	w.Header().Set("Berth-Messages", strconv.Itoa(len(v.run.Messages)))
	return s.render(w, "live", s.live(r.Context(), session))
}

// live asks the cluster. One that does not answer is told on the page.
func (s *Server) live(ctx context.Context, session *workshop.Session) live {
	ctx, cancel := context.WithTimeout(ctx, liveWithin)
	defer cancel()
	var l live
	trouble := func(err error) live {
		l.Error = fmt.Sprintf("The cluster does not answer: %s. If it is stopped, `berth cluster start %s` starts it.", err, session.Run.Cluster)
		return l
	}
	namespace := session.Learner.Namespace
	pods, err := kube.List[corev1.Pod](ctx, s.options.Kube, namespace, "")
	if err != nil {
		return trouble(err)
	}
	for i := range pods {
		l.Pods = append(l.Pods, podOf(&pods[i], session.Run.Cluster))
	}
	services, err := kube.List[corev1.Service](ctx, s.options.Kube, namespace, "")
	if err != nil {
		return trouble(err)
	}
	for i := range services {
		l.Services = append(l.Services, liveService{services[i].Name, string(services[i].Spec.Type), portsOf(&services[i])})
	}
	ingresses, err := kube.List[networkingv1.Ingress](ctx, s.options.Kube, namespace, "")
	if err != nil {
		return trouble(err)
	}
	for i := range ingresses {
		l.URLs = append(l.URLs, urlsOf(&ingresses[i], session.Run.HTTPPort)...)
	}
	slices.Sort(l.URLs)
	l.URLs = slices.Compact(l.URLs)
	return l
}

// podOf is a pod in a row, as kubectl words it.
func podOf(p *corev1.Pod, cluster string) livePod {
	row := livePod{Name: p.Name, State: string(p.Status.Phase), Node: strings.TrimPrefix(p.Spec.NodeName, cluster+"-")}
	ready, restarts := 0, int32(0)
	for _, c := range p.Status.ContainerStatuses {
		if c.Ready {
			ready++
		}
		restarts += c.RestartCount
		if c.State.Waiting != nil && c.State.Waiting.Reason != "" {
			row.State = c.State.Waiting.Reason
		} else if c.State.Terminated != nil && p.Status.Phase != corev1.PodSucceeded {
			row.State = c.State.Terminated.Reason
		}
	}
	if p.DeletionTimestamp != nil {
		row.State = "Terminating"
	}
	row.Ready, row.Restarts = fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers)), strconv.Itoa(int(restarts))
	switch {
	case p.Status.Phase == corev1.PodSucceeded, row.State == "Running" && ready == len(p.Spec.Containers):
		row.Class = "good"
	case strings.Contains(row.State, "BackOff"), strings.Contains(row.State, "Err"), p.Status.Phase == corev1.PodFailed:
		row.Class = "bad"
	}
	return row
}

func portsOf(s *corev1.Service) string {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return s.Spec.ExternalName
	}
	var ports []string
	for _, p := range s.Spec.Ports {
		text := strconv.Itoa(int(p.Port))
		if p.NodePort != 0 {
			text += ":" + strconv.Itoa(int(p.NodePort))
		}
		ports = append(ports, text)
	}
	return strings.Join(ports, ", ")
}

func urlsOf(i *networkingv1.Ingress, port int) []string {
	at := ""
	if port != 80 {
		at = fmt.Sprintf(":%d", port)
	}
	var urls []string
	for _, r := range i.Spec.Rules {
		if r.Host == "" || r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			urls = append(urls, "http://"+r.Host+at+"/"+strings.TrimPrefix(p.Path, "/"))
		}
	}
	return urls
}
