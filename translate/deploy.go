package translate

import (
	"fmt"
	"math"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// strategy returns how a Deployment replaces its pods. Compose stops the old
// container before it starts the new one, and so does this: with Recreate
// where both would want the same volume or host port, else one pod at a time.
func (t *translator) strategy(u *unit, pinned bool) appsv1.DeploymentStrategy {
	parallel, startFirst := intstr.FromInt32(1), false
	if c := updateConfig(u); c != nil {
		startFirst = c.Order == "start-first"
		if c.Parallelism != nil {
			parallel = intstr.FromInt32(int32(min(*c.Parallelism, 1<<30)))
			if *c.Parallelism == 0 {
				parallel = intstr.FromString("100%")
			}
		}
		t.reportUpdate(u, c)
	}
	zero := intstr.FromInt32(0)
	switch {
	case startFirst:
		return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: ptr(parallel), MaxUnavailable: ptr(zero)}}
	case (pinned || t.hasHostPort(u)) && replicasOf(u) <= 1:
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: ptr(zero), MaxUnavailable: ptr(parallel)}}
}

// daemonStrategy is strategy for a DaemonSet, which stops first by default.
func (t *translator) daemonStrategy(u *unit) appsv1.DaemonSetUpdateStrategy {
	parallel, zero := intstr.FromInt32(1), intstr.FromInt32(0)
	rolling := &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &parallel, MaxSurge: &zero}
	if c := updateConfig(u); c != nil {
		if c.Parallelism != nil {
			parallel = intstr.FromInt32(int32(min(*c.Parallelism, 1<<30)))
			if *c.Parallelism == 0 {
				parallel = intstr.FromString("100%")
			}
		}
		switch {
		case c.Order == "start-first" && t.hasHostPort(u):
			t.report.dropped(u.path+".deploy.update_config.order", "old pods stop first: a port of the node is one pod's", "")
		case c.Order == "start-first":
			rolling.MaxUnavailable, rolling.MaxSurge = &zero, &parallel
		}
		t.reportUpdate(u, c)
	}
	return appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: rolling}
}

func updateConfig(u *unit) *types.UpdateConfig {
	if u.svc.Deploy == nil {
		return nil
	}
	return u.svc.Deploy.UpdateConfig
}

// minReady is update_config's delay or monitor, whichever is longer: how long
// a new pod must be ready before the next one is replaced.
func (t *translator) minReady(u *unit) int32 {
	c := updateConfig(u)
	if c == nil || c.Delay <= 0 && c.Monitor <= 0 {
		return 0
	}
	return min(seconds(durationOf(max(c.Delay, c.Monitor))), math.MaxInt32-progressDeadline)
}

// progressDeadline is how long Kubernetes lets an update make no progress, in
// seconds, unless it is told otherwise.
const progressDeadline = 600

// progressDeadline adds the time that a pod must be ready to the deadline, nil
// for Kubernetes' own: it must be longer.
func (t *translator) progressDeadline(u *unit) *int32 {
	if ready := t.minReady(u); ready > 0 {
		return ptr(ready + progressDeadline)
	}
	return nil
}

// reportUpdate says what of update_config is lost.
func (t *translator) reportUpdate(u *unit, c *types.UpdateConfig) {
	path := u.path + ".deploy.update_config"
	if c.Delay > 0 {
		t.report.approximated(path+".delay", "a new pod must be ready that long before the next is replaced", "")
	}
	if c.Monitor > 0 {
		t.report.approximated(path+".monitor", "a new pod must be ready that long before the next is replaced", "")
	}
	switch c.FailureAction {
	case "rollback":
		t.report.approximated(path+".failure_action", "a failed update stops where it is", "berth rollback "+u.name)
	case "continue":
		t.report.approximated(path+".failure_action", "a failed update stops where it is", "")
	}
	if c.MaxFailureRatio > 0 {
		t.report.dropped(path+".max_failure_ratio", "an update stops at the first pod that does not become ready", "")
	}
}

// reportNoUpdate says what of update_config a StatefulSet or a Job has not.
func (t *translator) reportNoUpdate(u *unit) {
	c := updateConfig(u)
	if c == nil {
		return
	}
	path := u.path + ".deploy.update_config"
	if u.kind.oneShot() {
		t.report.dropped(path, "a "+string(u.kind)+" is not updated step by step: what runs runs to its end", "")
		return
	}
	t.reportUpdate(u, c)
	if c.Parallelism != nil && *c.Parallelism != 1 {
		t.report.dropped(path+".parallelism", "a "+string(u.kind)+" replaces one pod at a time", "")
	}
	if c.Order == "start-first" {
		t.report.dropped(path+".order", "a "+string(u.kind)+" stops a pod before it starts the next one", "set x-berth.kind: deployment")
	}
}

// affinity translates placement constraints and max_replicas_per_node of 1.
func (t *translator) affinity(u *unit) *corev1.Affinity {
	a := &corev1.Affinity{}
	d := u.svc.Deploy
	if d == nil {
		return nil
	}
	var terms []corev1.NodeSelectorRequirement
	for i, c := range d.Placement.Constraints {
		if r, ok := t.constraint(itemPath(u.path, "deploy.placement.constraints", i), c); ok {
			terms = append(terms, r)
		}
	}
	if len(terms) > 0 {
		a.NodeAffinity = &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: terms}},
		}}
	}
	if d.Placement.MaxReplicas == 1 && u.kind != daemonSet || d.Mode == "global-job" {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: t.selector(u)}, TopologyKey: corev1.LabelHostname,
		}}}
	}
	if *a == (corev1.Affinity{}) {
		return nil
	}
	return a
}

// constraint reads "node.role==manager", "node.labels.disk != ssd" and the
// like.
func (t *translator) constraint(path, text string) (corev1.NodeSelectorRequirement, bool) {
	operator := corev1.NodeSelectorOpIn
	key, value, ok := strings.Cut(text, "==")
	if !ok {
		operator = corev1.NodeSelectorOpNotIn
		key, value, ok = strings.Cut(text, "!=")
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	fail := func(why string) (corev1.NodeSelectorRequirement, bool) {
		t.report.dropped(path, why, "")
		return corev1.NodeSelectorRequirement{}, false
	}
	if !ok || key == "" {
		return fail(fmt.Sprintf("%q is no constraint", text))
	}
	var label string
	switch {
	case key == "node.role":
		if value != "manager" && value != "worker" {
			return fail(fmt.Sprintf("%q is no role of a node", value))
		}
		exists := (value == "manager") == (operator == corev1.NodeSelectorOpIn)
		r := corev1.NodeSelectorRequirement{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.NodeSelectorOpDoesNotExist}
		if exists {
			r.Operator = corev1.NodeSelectorOpExists
		}
		return r, true
	case key == "node.hostname", key == "node.id":
		label = corev1.LabelHostname
	case key == "node.platform.os":
		label = corev1.LabelOSStable
	case key == "node.platform.arch":
		label, value = corev1.LabelArchStable, architecture(value)
	case strings.HasPrefix(key, "node.labels."):
		label = strings.TrimPrefix(key, "node.labels.")
	case strings.HasPrefix(key, "engine.labels."):
		label = strings.TrimPrefix(key, "engine.labels.")
	default:
		return fail(fmt.Sprintf("nodes have no %q", key))
	}
	if !isQualifiedName(label) || !isLabelValue(value) {
		return fail(fmt.Sprintf("%q is no label of a node", text))
	}
	return corev1.NodeSelectorRequirement{Key: label, Operator: operator, Values: []string{value}}, true
}

// onControlPlane reports whether u asks for a manager node.
func (t *translator) onControlPlane(u *unit) bool {
	if u.svc.Deploy == nil {
		return false
	}
	for _, c := range u.svc.Deploy.Placement.Constraints {
		compact := strings.ReplaceAll(c, " ", "")
		if compact == "node.role==manager" || compact == "node.role!=worker" {
			return true
		}
	}
	return false
}

// spread translates placement preferences and max_replicas_per_node.
func (t *translator) spread(u *unit) []corev1.TopologySpreadConstraint {
	d := u.svc.Deploy
	if d == nil {
		return nil
	}
	if u.kind == daemonSet {
		for i := range d.Placement.Preferences {
			t.report.dropped(itemPath(u.path, "deploy.placement.preferences", i), "a DaemonSet, which has one pod on every node", "")
		}
		return nil
	}
	var out []corev1.TopologySpreadConstraint
	add := func(key string) {
		for _, c := range out {
			if c.TopologyKey == key {
				return
			}
		}
		out = append(out, corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: t.selector(u)},
		})
	}
	for i, p := range d.Placement.Preferences {
		path := itemPath(u.path, "deploy.placement.preferences", i)
		label := strings.TrimPrefix(strings.TrimPrefix(p.Spread, "node.labels."), "engine.labels.")
		switch {
		case p.Spread == "node.hostname" || p.Spread == "node.id":
			add(corev1.LabelHostname)
		case label != p.Spread && isQualifiedName(label):
			add(label)
		default:
			t.report.dropped(path, fmt.Sprintf("nodes have no %q", p.Spread), "")
		}
	}
	if n := d.Placement.MaxReplicas; n > 1 {
		add(corev1.LabelHostname)
		t.report.approximated(u.path+".deploy.placement.max_replicas_per_node", "pods are spread evenly over the nodes; the number on one node is not limited", "")
	}
	return out
}

// autoscaler returns the horizontal autoscaler of u, nil when none is asked.
func (t *translator) autoscaler(u *unit) Object {
	h := u.hints.Autoscale
	if h == nil || u.kind != deployment && u.kind != statefulSet {
		return nil
	}
	cpu := h.CPU
	if cpu == 0 {
		cpu = 80
	}
	low := int32(1)
	if h.Min != nil {
		low = *h.Min
	}
	figures := "it needs a metrics server"
	if t.owned() {
		figures = "berth installs a metrics server where there is none"
	}
	t.report.exact(u.path+"."+extension+".autoscale", fmt.Sprintf("a HorizontalPodAutoscaler of %d to %d pods; %s", low, h.Max, figures))
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta: typeMeta("autoscaling/v2", "HorizontalPodAutoscaler"), ObjectMeta: t.meta(u.kube, u),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: string(u.kind), Name: u.kube},
			MinReplicas:    ptr(low), MaxReplicas: h.Max,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr(cpu)},
			}}},
		},
	}
}
