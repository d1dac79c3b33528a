package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/model"
)

// A scene is a cluster in which the service "web" is being rolled out: one
// Deployment that wants one pod.
type scene struct {
	*snapshot
	deployment *appsv1.Deployment
	pod        *corev1.Pod
}

// dawn is when every scene begins.
func dawn() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func newScene() *scene {
	labels := map[string]string{model.LabelService: "web"}
	owned := func(kind, name, uid string) []metav1.OwnerReference {
		yes := true
		return []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes}}
	}
	one := int32(1)
	s := &scene{snapshot: newSnapshot()}
	s.deployment = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "d", Generation: 2, Labels: labels},
		Spec: appsv1.DeploymentSpec{Replicas: &one}, Status: appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1}}
	s.deployments.put(s.deployment)
	for i, revision := range []string{"1", "2"} {
		s.replicaSets.put(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web-" + revision, UID: types.UID(fmt.Sprint("rs", i+1)),
			Labels: labels, Annotations: map[string]string{annotationRevision: revision}, OwnerReferences: owned("Deployment", "web", "d")}})
	}
	s.pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-2-x", UID: "p", Labels: labels, Annotations: map[string]string{}, OwnerReferences: owned("ReplicaSet", "web-2", "rs2")},
		Spec:   corev1.PodSpec{NodeName: "worker", Containers: []corev1.Container{{Name: "web", Image: "web:1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Image: "web:1"}}}}
	s.pods.put(s.pod)
	return s
}

func (s *scene) container() *corev1.ContainerStatus { return &s.pod.Status.ContainerStatuses[0] }

func (s *scene) running() {
	s.container().State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(dawn())}
}

func (s *scene) waiting(reason, message string) {
	s.pod.Status.Phase = corev1.PodPending
	s.container().State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
}

func (s *scene) crashed(code, restarts int32, reason string) {
	s.container().State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	s.container().LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}
	s.container().RestartCount = restarts
}

func (s *scene) event(about, reason, message string) {
	s.putEvent(&corev1.Event{ObjectMeta: metav1.ObjectMeta{UID: types.UID(reason + message)}, InvolvedObject: corev1.ObjectReference{UID: types.UID(about)},
		Reason: reason, Message: message, LastTimestamp: metav1.NewTime(dawn())})
}

func (s *scene) ready() {
	s.running()
	s.container().Ready = true
	s.pod.Status.Conditions = append(s.pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	s.deployment.Status.ReadyReplicas, s.deployment.Status.AvailableReplicas = 1, 1
}

func (s *scene) probe(period, threshold int32) {
	s.pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: period, FailureThreshold: threshold, TimeoutSeconds: 2}
}

func TestJudgingADeployment(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*scene)
		cond  model.WaitCondition
		after time.Duration // since dawn
		done  bool
		text  string // part of what is awaited
		why   string // part of the first trouble's text
		hint  string // part of its hint
		grace time.Duration
	}{
		"ready":                                  {set: (*scene).ready, cond: model.WaitHealthy, after: 3 * time.Second, done: true},
		"ready a moment ago":                     {set: (*scene).ready, cond: model.WaitHealthy, after: time.Second, text: "1/1 ready: making sure that it stays up"},
		"ready a moment ago, by its healthcheck": {set: func(s *scene) { s.ready(); s.probe(5, 3) }, cond: model.WaitHealthy, done: true},
		"ready after a crash": {set: func(s *scene) {
			s.ready()
			s.container().LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
		}, cond: model.WaitHealthy, after: 5 * time.Second, text: "making sure"},
		"running, not ready":      {set: (*scene).running, cond: model.WaitHealthy, text: "0/1 ready: waiting for its healthcheck"},
		"running is started":      {set: (*scene).running, cond: model.WaitStarted, done: true},
		"a crash is a start":      {set: func(s *scene) { s.crashed(1, 1, "Error") }, cond: model.WaitStarted, done: true},
		"controller is behind":    {set: func(s *scene) { s.ready(); s.deployment.Generation = 3 }, cond: model.WaitHealthy, text: "take notice"},
		"an old pod still serves": {set: func(s *scene) { s.ready(); s.deployment.Status.Replicas = 2 }, cond: model.WaitHealthy, text: "1/1 ready"},
		"scaled to nothing": {set: func(s *scene) {
			s.deployment.Spec.Replicas = new(int32)
			s.pods.drop(s.pod)
			s.deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: 2}
		}, cond: model.WaitHealthy, done: true},
		"first crash may pass": {set: func(s *scene) { s.crashed(1, 1, "Error") }, cond: model.WaitHealthy, why: "exit code 1 (Error), started 2 times", grace: graceFirstCrash},
		"crash loop":           {set: func(s *scene) { s.crashed(1, 2, "Error") }, cond: model.WaitHealthy, why: `container "web" of pod "web-2-x" crashes: exit code 1 (Error), started 3 times`},
		"out of memory":        {set: func(s *scene) { s.crashed(137, 4, "OOMKilled") }, cond: model.WaitHealthy, why: "exit code 137 (OOMKilled)", hint: "mem_limit"},
		"program missing":      {set: func(s *scene) { s.crashed(128, 4, "StartError") }, cond: model.WaitHealthy, why: "exit code 128", hint: "entrypoint"},
		"a crash of the old revision does not count": {set: func(s *scene) {
			old := s.pod.DeepCopy()
			old.UID, old.Name, old.OwnerReferences[0].UID = "old", "web-1-y", "rs1"
			old.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
			old.Status.ContainerStatuses[0].RestartCount = 9
			s.pods.put(old)
			s.running()
		}, cond: model.WaitHealthy, text: "0/1 ready"},
		"image not on the node": {set: func(s *scene) { s.waiting("ErrImageNeverPull", "x") }, cond: model.WaitStarted, why: `image "web:1" is not on node "worker"`, hint: "berth up"},
		"image cannot be pulled": {set: func(s *scene) { s.waiting("ImagePullBackOff", "no such host") }, cond: model.WaitHealthy,
			why: `image "web:1" cannot be had on node "worker": no such host`, hint: "docker pull web:1"},
		"first failed pull may pass": {set: func(s *scene) { s.waiting("ErrImagePull", "x") }, cond: model.WaitHealthy, why: "cannot be had", grace: graceImage},
		"missing secret":             {set: func(s *scene) { s.waiting("CreateContainerConfigError", `secret "key" not found`) }, cond: model.WaitHealthy, why: `secret "key" not found`, hint: "secret", grace: graceConfig},
		"unschedulable": {set: func(s *scene) {
			s.pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
				Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 Insufficient memory."}}}
			s.pod.Spec.NodeName = ""
		}, cond: model.WaitHealthy, text: "waiting for a node", why: "no node can run pod", hint: "reservations", grace: graceSchedule},
		"mount fails": {set: func(s *scene) {
			s.waiting("ContainerCreating", "")
			s.event("p", "FailedMount", `configmap "c" not found`)
		}, cond: model.WaitHealthy, text: "creating its containers", why: `configmap "c" not found`, hint: "volumes", grace: graceMount},
		"healthcheck may take its time": {set: func(s *scene) { s.running(); s.probe(5, 3) }, cond: model.WaitHealthy, after: 16 * time.Second, text: "healthcheck"},
		"healthcheck exhausted": {set: func(s *scene) {
			s.running()
			s.probe(5, 3)
			s.event("p", "Unhealthy", "Readiness probe failed: no database")
		}, cond: model.WaitHealthy, after: 18 * time.Second, text: "no database", why: "still unhealthy 17s after its start: Readiness probe failed: no database", hint: "start_period"},
		"start period is waited for": {set: func(s *scene) {
			s.running()
			s.probe(5, 3)
			s.pod.Annotations[AnnotationStartPeriod] = "60"
		}, cond: model.WaitHealthy, after: 70 * time.Second, text: "healthcheck"},
		"quota": {set: func(s *scene) {
			s.pods.drop(s.pod)
			s.deployment.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "exceeded quota: small"}}
		}, cond: model.WaitHealthy, why: "its pods cannot be made: exceeded quota: small", hint: "quota", grace: graceImage},
		"an end without error is success where Docker would not restart": {set: func(s *scene) {
			s.pod.Annotations[AnnotationRestart] = "no"
			s.container().State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 0}
		}, cond: model.WaitHealthy, done: true},
		"and a crash loop where it would": {set: func(s *scene) { s.pod.Annotations[AnnotationRestart] = "always"; s.crashed(0, 3, "Completed") }, cond: model.WaitHealthy, why: "exit code 0", hint: "restart: on-failure"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			c.set(s)
			v := s.judge("web", c.cond, dawn().Add(c.after))
			if v.done != c.done || !strings.Contains(v.text, c.text) {
				t.Errorf("done %v, text %q; want %v, %q", v.done, v.text, c.done, c.text)
			}
			first := trouble{}
			if len(v.troubles) > 0 {
				first = v.troubles[0]
			}
			if (c.why == "") != (first.text == "") || !strings.Contains(first.text, c.why) || !strings.Contains(first.hint, c.hint) || first.grace != c.grace {
				t.Errorf("trouble %q, hint %q, grace %s; want %q, %q, %s", first.text, first.hint, first.grace, c.why, c.hint, c.grace)
			}
		})
	}
}

func TestJudgingAJob(t *testing.T) {
	condition := func(kind batchv1.JobConditionType) func(*scene, *batchv1.Job) {
		return func(_ *scene, j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", Message: "too many"}}
		}
	}
	for name, c := range map[string]struct {
		set  func(*scene, *batchv1.Job)
		cond model.WaitCondition
		done bool
		why  string
	}{
		"complete":              {set: condition(batchv1.JobComplete), cond: model.WaitCompleted, done: true},
		"complete is healthy":   {set: condition(batchv1.JobComplete), cond: model.WaitHealthy, done: true},
		"its pod has succeeded": {set: func(s *scene, _ *batchv1.Job) { s.pod.Status.Phase = corev1.PodSucceeded }, cond: model.WaitCompleted, done: true},
		"running":               {set: func(s *scene, _ *batchv1.Job) { s.running() }, cond: model.WaitCompleted},
		"running is started":    {set: func(s *scene, _ *batchv1.Job) { s.running() }, cond: model.WaitStarted, done: true},
		"failed without a pod":  {set: func(s *scene, j *batchv1.Job) { s.pods.drop(s.pod); condition(batchv1.JobFailed)(s, j) }, cond: model.WaitCompleted, why: "it failed: too many"},
		"failed": {set: func(s *scene, j *batchv1.Job) {
			condition(batchv1.JobFailed)(s, j)
			s.container().State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 7, Reason: "Error"}
		}, cond: model.WaitCompleted, why: `container "web" of pod "web-2-x" ended with exit code 7 (Error)`},
		"it counts its crashes itself": {set: func(s *scene, _ *batchv1.Job) { s.crashed(1, 5, "Error") }, cond: model.WaitCompleted},
		"image missing":                {set: func(s *scene, _ *batchv1.Job) { s.waiting("ErrImageNeverPull", "x") }, cond: model.WaitCompleted, why: "is not on node"},
		"stopped":                      {set: func(s *scene, j *batchv1.Job) { yes := true; j.Spec.Suspend = &yes; s.pods.drop(s.pod) }, cond: model.WaitHealthy, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.deployments.drop(s.deployment)
			j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "j", Labels: s.deployment.Labels}}
			s.jobs.put(j)
			s.pod.OwnerReferences[0].UID = "j"
			c.set(s, j)
			v := s.judge("web", c.cond, dawn())
			first := trouble{}
			if len(v.troubles) > 0 {
				first = v.troubles[0]
			}
			if v.done != c.done || (c.why == "") != (first.text == "") || !strings.Contains(first.text, c.why) {
				t.Errorf("done %v, trouble %q; want %v, %q", v.done, first.text, c.done, c.why)
			}
		})
	}
}

func TestTroubleMustLastItsGrace(t *testing.T) {
	seen := map[string]time.Time{}
	slow := trouble{short: "slow", text: "slow", grace: 10 * time.Second}
	steps := []struct {
		at       time.Duration
		troubles []trouble
		ripe     bool
	}{
		{0, []trouble{slow}, false}, {9 * time.Second, []trouble{slow}, false},
		{9500 * time.Millisecond, nil, false}, // it went away
		{12 * time.Second, []trouble{slow}, false}, {22 * time.Second, []trouble{slow}, true},
		{23 * time.Second, []trouble{{short: "now", text: "now"}, slow}, true},
	}
	for _, s := range steps {
		if got := ripe(s.troubles, seen, dawn(), dawn().Add(s.at)); (got != nil) != s.ripe {
			t.Errorf("after %s: %v, want ripe %v", s.at, got, s.ripe)
		}
	}
}

// The container of a supervised program may be old when the program has just
// been started again: its healthcheck has all its time from the wait's beginning.
func TestUnhealthyRestartedProgramIsWaitedFor(t *testing.T) {
	s := newScene()
	s.running()
	s.probe(5, 3)
	s.pod.Spec.Containers[0].Command = []string{supervisor, "--restart", "always", "--", "web"}
	hourLater := dawn().Add(time.Hour)
	v := s.judge("web", model.WaitHealthy, hourLater)
	if len(v.troubles) != 1 || v.troubles[0].short != "unhealthy" {
		t.Fatalf("troubles %+v, want unhealthy", v.troubles)
	}
	for waited, want := range map[time.Duration]bool{0: false, 16 * time.Second: false, 18 * time.Second: true} {
		got := ripe(v.troubles, map[string]time.Time{}, hourLater.Add(-waited), hourLater)
		if (got != nil) != want {
			t.Errorf("after a wait of %s: %v, want a failure %v", waited, got, want)
		}
	}
	s.pod.Spec.Containers[0].Command = []string{supervisor, "--once", "--", "web"}
	if v = s.judge("web", model.WaitHealthy, hourLater); ripe(v.troubles, map[string]time.Time{}, hourLater, hourLater) == nil {
		t.Error("a program that started with its container is waited for")
	}
}

// A registry that wants credentials needs other advice than a wrong name.
func TestPullThatIsRefusedSaysHowToGiveCredentials(t *testing.T) {
	hint := func(message string, secrets ...string) string {
		s := newScene()
		s.waiting("ImagePullBackOff", message)
		for _, name := range secrets {
			s.pod.Spec.ImagePullSecrets = append(s.pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
		}
		return podTrouble(s.pod, "web").hint
	}
	const refused = "pulling from host r.example failed with status code [manifests 1]: 401 Unauthorized"
	for _, c := range []struct{ got, want string }{
		{hint("no such host"), "docker pull web:1"},
		{hint(refused), "--pull-secret"},
		{hint(refused), "x-berth.imagePullSecrets"},
		{hint(refused, "mine"), "Secret mine"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%q does not say %q", c.got, c.want)
		}
	}
}

func TestMissingServiceIsATrouble(t *testing.T) {
	v := newSnapshot().judge("web", model.WaitHealthy, dawn())
	if v.done || len(v.troubles) != 1 || v.troubles[0].grace != graceMissing {
		t.Errorf("verdict %+v", v)
	}
}

func TestCovers(t *testing.T) {
	type m = map[string]any
	type l = []any
	for _, c := range []struct {
		have, want any
		ok         bool
	}{
		{m{"a": int64(1), "b": "x"}, m{"a": int64(1)}, true},
		{m{"a": int64(2)}, m{"a": int64(1)}, false},
		{m{}, m{"a": nil}, false},
		{m{"a": l{m{"n": "x", "d": "default"}}}, m{"a": l{m{"n": "x"}}}, true},
		{m{"a": l{m{"n": "x"}, m{"n": "y"}}}, m{"a": l{m{"n": "x"}}}, false},
		{m{"a": "x"}, m{"a": m{}}, false},
		{m{"a": true}, m{"a": true}, true},
	} {
		if got := covers(c.have, c.want); got != c.ok {
			t.Errorf("covers(%v, %v) = %v", c.have, c.want, got)
		}
	}
}

// TestServiceInAnothersPod looks at a service that shares the pods of "web".
func TestServiceInAnothersPod(t *testing.T) {
	s := newScene()
	s.ready()
	shared := map[string]string{AnnotationServices: "web=web,web-log=log"}
	s.pod.Annotations, s.deployment.Spec.Template.Annotations = shared, shared
	s.pod.Spec.Containers = append(s.pod.Spec.Containers, corev1.Container{Name: "web-log", Image: "log:1"})
	if v := s.judge("log", model.WaitHealthy, dawn().Add(time.Minute)); !v.done {
		t.Errorf("verdict %+v", v)
	}
	states := s.services(dawn())
	if len(states) != 2 || states[0].Service != "log" || states[0].Name != "web" || states[0].Pods[0].Container != "web-log" || states[1].Pods[0].Container != "web" {
		t.Errorf("services %+v", states)
	}
	if ServiceOf(s.pod, "web-log") != "log" || ServiceOf(s.pod, "web") != "web" {
		t.Error("containers belong to the wrong services")
	}
}

func TestVolumeThatCannotBeMadeIsTheReason(t *testing.T) {
	s := newScene()
	s.pod.Spec.NodeName = ""
	s.pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "entries"}}}}
	tell := func(reason string, after time.Duration) {
		s.putEvent(&corev1.Event{ObjectMeta: metav1.ObjectMeta{UID: types.UID(reason)}, Reason: reason, Message: "create process timeout",
			InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Name: "entries", UID: "pvc"}, LastTimestamp: metav1.NewTime(dawn().Add(after))})
	}
	if v := s.judge("web", model.WaitHealthy, dawn()); len(v.troubles) != 0 {
		t.Errorf("without an event: %+v", v.troubles)
	}
	tell("ProvisioningFailed", time.Second)
	v := s.judge("web", model.WaitHealthy, dawn())
	if len(v.troubles) != 1 || !strings.Contains(v.troubles[0].text, `volume "entries" of pod "web-2-x" cannot be made: create process timeout`) || !strings.Contains(v.troubles[0].hint, "node start") {
		t.Errorf("%+v", v.troubles)
	}
	tell("ProvisioningSucceeded", 2*time.Second)
	if v := s.judge("web", model.WaitHealthy, dawn()); len(v.troubles) != 0 {
		t.Errorf("after it was made: %+v", v.troubles)
	}
}

// A service that ends well under a policy by which Docker would leave it at
// that has done its work; one that was told to end, and runs again, has not.
func TestOnlyAOneShotIsFinished(t *testing.T) {
	second := func(n int) metav1.Time { return metav1.NewTime(dawn().Add(time.Duration(n) * time.Second)) }
	ended := func(code int32, from, to int) *corev1.ContainerStateTerminated {
		return &corev1.ContainerStateTerminated{ExitCode: code, StartedAt: second(from), FinishedAt: second(to)}
	}
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: second(-1)}}
	backOff := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	creating := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	for name, c := range map[string]struct {
		state      corev1.ContainerState
		last       *corev1.ContainerStateTerminated
		policy     string
		generation int64
		want       bool
	}{
		"it has just ended":                       {state: corev1.ContainerState{Terminated: ended(0, -100, 0)}, want: true},
		"it ended badly":                          {state: corev1.ContainerState{Terminated: ended(1, -100, 0)}},
		"the kubelet has started it again":        {state: runs, last: ended(0, -3, -1), want: true},
		"it ended after long service":             {state: runs, last: ended(0, -600, -1)},
		"it has run for a while since":            {state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: second(-60)}}, last: ended(0, -62, -60)},
		"it ends again and again":                 {state: backOff, last: ended(0, -3, -1), want: true},
		"it is to run always":                     {state: backOff, last: ended(0, -3, -1), policy: "always"},
		"its image is being changed in place":     {state: creating, last: ended(0, -3, -1), generation: 2},
		"it runs with an image changed in place":  {state: runs, last: ended(0, -3, -1), generation: 2},
		"its changed image ends again and again":  {state: backOff, last: ended(0, -3, -1), generation: 2, want: true},
		"it runs for the first time":              {state: runs},
		"it ended well with a policy of failures": {state: backOff, last: ended(0, -3, -1), policy: "on-failure", want: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.pod.Generation = c.generation
			s.pod.Annotations[AnnotationRestart] = c.policy
			s.container().State, s.container().LastTerminationState.Terminated = c.state, c.last
			if got := s.judge("web", model.WaitHealthy, dawn()).finished; got != c.want {
				t.Errorf("finished: %t", got)
			}
		})
	}
}
