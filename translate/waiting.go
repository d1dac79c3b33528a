package translate

import (
	"math"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Annotations of pod templates that berth reads while it waits for the pods
// and lists them. They say what Docker would make of a pod's state and
// Kubernetes has no field for.
const (
	annotationRestart     = "berth.dev/restart"      // restart, where the compose file says; Docker's default is no
	annotationStartPeriod = "berth.dev/start-period" // seconds in which failed checks do not count
	annotationServices    = "berth.dev/services"     // container=service,... of pods that run several services
	annotationDefault     = "kubectl.kubernetes.io/default-container"
)

// annotateWaiting adds those annotations for the pods of u, which run units in
// containers, one for one.
func annotateWaiting(out map[string]string, u *unit, units []*unit, containers []corev1.Container) {
	if policy, _, explicit := restartPolicy(u.svc); explicit && u.kind == deployment {
		out[annotationRestart] = policy
	}
	if facts, h := u.mainScope().facts, u.svc.HealthCheck; containers[0].ReadinessProbe != nil {
		period := time.Duration(0)
		if facts != nil && facts.Health != nil {
			period = facts.Health.StartPeriod
		}
		if h != nil {
			period = firstDuration(h.StartPeriod, period, 0)
		}
		if period > 0 {
			out[annotationStartPeriod] = strconv.Itoa(int(math.Ceil(period.Seconds())))
		}
	}
	if len(units) > 1 {
		var pairs []string
		for i, m := range units {
			pairs = append(pairs, containers[i].Name+"="+LabelValue(m.name))
		}
		out[annotationDefault], out[annotationServices] = containers[0].Name, strings.Join(pairs, ",")
	}
}
