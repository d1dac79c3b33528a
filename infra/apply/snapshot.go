package apply

import (
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

// snapshot is what is known of a project's workloads at one moment.
type snapshot struct {
	deployments  byUID[*appsv1.Deployment]
	statefulSets byUID[*appsv1.StatefulSet]
	daemonSets   byUID[*appsv1.DaemonSet]
	jobs         byUID[*batchv1.Job]
	cronJobs     byUID[*batchv1.CronJob]
	replicaSets  byUID[*appsv1.ReplicaSet]
	pods         byUID[*corev1.Pod]
	events       map[types.UID]byUID[*corev1.Event] // by the object they are about
	marks        *marks                             // what it must not be older than; nil: anything
}

type byUID[P model.Object] map[types.UID]P

func (m byUID[P]) put(o P)  { m[o.GetUID()] = o }
func (m byUID[P]) drop(o P) { delete(m, o.GetUID()) }

func newSnapshot() *snapshot {
	return &snapshot{
		deployments: byUID[*appsv1.Deployment]{}, statefulSets: byUID[*appsv1.StatefulSet]{}, daemonSets: byUID[*appsv1.DaemonSet]{},
		jobs: byUID[*batchv1.Job]{}, cronJobs: byUID[*batchv1.CronJob]{}, replicaSets: byUID[*appsv1.ReplicaSet]{}, pods: byUID[*corev1.Pod]{},
		events: map[types.UID]byUID[*corev1.Event]{},
	}
}

func (s *snapshot) putEvent(e *corev1.Event) {
	about := e.InvolvedObject.UID
	if s.events[about] == nil {
		s.events[about] = byUID[*corev1.Event]{}
	}
	s.events[about].put(e)
}

func (s *snapshot) dropEvent(e *corev1.Event) {
	about := e.InvolvedObject.UID
	s.events[about].drop(e)
	if len(s.events[about]) == 0 {
		delete(s.events, about)
	}
}

// lastEvent is the latest event about an object for one of the reasons, nil
// when there is none.
func (s *snapshot) lastEvent(about types.UID, reasons ...string) *corev1.Event {
	var last *corev1.Event
	for _, e := range s.events[about] {
		if slices.Contains(reasons, e.Reason) && (last == nil || kube.EventTime(e).After(kube.EventTime(last))) {
			last = e
		}
	}
	return last
}

// lastClaimEvent is the latest event about a volume claim, by name, for one of
// the reasons; nil when there is none.
func (s *snapshot) lastClaimEvent(claim string, reasons ...string) *corev1.Event {
	var last *corev1.Event
	for about, events := range s.events {
		for _, e := range events {
			if e.InvolvedObject.Kind == "PersistentVolumeClaim" && e.InvolvedObject.Name == claim {
				if e := s.lastEvent(about, reasons...); e != nil && (last == nil || kube.EventTime(e).After(kube.EventTime(last))) {
					last = e
				}
			}
			break // all of them are about the same object
		}
	}
	return last
}

// livePods are the pods that have not been told to end and were made for the
// owner as it is now.
func (s *snapshot) livePods(current func(*corev1.Pod) bool) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range s.pods {
		if pod.DeletionTimestamp == nil && current(pod) {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return pods
}

func ownedBy(o metav1.Object, uid types.UID) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.UID == uid
}

// Marks that Kubernetes' own controllers put on what they make.
const (
	annotationRevision      = "deployment.kubernetes.io/revision"
	labelTemplateGeneration = "pod-template-generation"
)

// deploymentPods are the pods of a Deployment's newest revision.
func (s *snapshot) deploymentPods(d *appsv1.Deployment) []*corev1.Pod {
	var newest *appsv1.ReplicaSet
	for _, rs := range s.replicaSets {
		if ownedBy(rs, d.UID) && (newest == nil || revisionOf(rs) > revisionOf(newest)) {
			newest = rs
		}
	}
	if newest == nil {
		return nil
	}
	return s.livePods(func(pod *corev1.Pod) bool { return ownedBy(pod, newest.UID) })
}

func revisionOf(o metav1.Object) int {
	n, _ := strconv.Atoi(o.GetAnnotations()[annotationRevision]) // unset counts as 0, the oldest
	return n
}

func (s *snapshot) statefulSetPods(d *appsv1.StatefulSet) []*corev1.Pod {
	return s.livePods(func(pod *corev1.Pod) bool {
		return ownedBy(pod, d.UID) && pod.Labels[appsv1.StatefulSetRevisionLabel] == d.Status.UpdateRevision
	})
}

func (s *snapshot) daemonSetPods(d *appsv1.DaemonSet) []*corev1.Pod {
	generation := d.Annotations[appsv1.DeprecatedTemplateGeneration]
	return s.livePods(func(pod *corev1.Pod) bool {
		return ownedBy(pod, d.UID) && (generation == "" || pod.Labels[labelTemplateGeneration] == generation)
	})
}

func (s *snapshot) jobPods(j *batchv1.Job) []*corev1.Pod {
	return s.livePods(func(pod *corev1.Pod) bool { return ownedBy(pod, j.UID) })
}
