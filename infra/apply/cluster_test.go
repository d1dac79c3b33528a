package apply

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/testneed"
)

// lab is a project on the real cluster that the cases below share.
type lab struct {
	*Project
	image string // an image with a shell that every node has
}

func newLab(t *testing.T, client *kube.Client, name string) lab {
	t.Helper()
	p := New(client, name, name, progress.Discard)
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if _, err := New(client, name, name, progress.Discard).Delete(noCancel(t), true); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	nodes, err := kube.List[corev1.Node](t.Context(), client, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range nodes[0].Status.Images {
		for _, name := range image.Names {
			if strings.Contains(name, "helper") && !strings.Contains(name, "@") {
				return lab{p, name}
			}
		}
	}
	t.Skip("needs cluster: no node has an image with a shell")
	return lab{}
}

// shell is a Deployment of one pod that runs a script.
func (l lab) shell(name, script string, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := deployment(name, l.image, 1)
	c := &d.Spec.Template.Spec.Containers[0]
	c.Command, c.Env, c.Resources = []string{"sh", "-c", script}, nil, corev1.ResourceRequirements{}
	c.ImagePullPolicy = corev1.PullIfNotPresent
	grace, off := int64(1), false
	d.Spec.Template.Spec.TerminationGracePeriodSeconds = &grace
	d.Spec.Template.Spec.AutomountServiceAccountToken = &off
	d.Spec.Template.Labels[model.LabelProject] = l.name
	for _, f := range change {
		f(d)
	}
	return d
}

func container(f func(*corev1.Container)) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { f(&d.Spec.Template.Spec.Containers[0]) }
}

// failingProbe is a healthcheck that says why and gives up after five seconds.
func failingProbe(c *corev1.Container) {
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo no database; exit 1"}}},
		PeriodSeconds: 1, FailureThreshold: 3, TimeoutSeconds: 2}
}

func TestWaitOnCluster(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-wait-%d", os.Getpid()))
	once := func(name, script string) model.Object {
		j := job(name, l.image)
		j.Spec.Template.Spec.Containers[0].Command = []string{"sh", "-c", script}
		j.Spec.Template.Labels[model.LabelProject] = l.name
		return j
	}
	for name, c := range map[string]struct {
		object model.Object
		cond   model.WaitCondition
		within time.Duration
		wants  []string // all in the error; none for success
		hint   string
	}{
		"healthy":   {object: l.shell("healthy", "sleep 1000"), cond: model.WaitHealthy, within: 20 * time.Second},
		"started":   {object: l.shell("started", "sleep 1000", container(failingProbe)), cond: model.WaitStarted, within: 20 * time.Second},
		"completed": {object: once("completed", "true"), cond: model.WaitCompleted, within: 20 * time.Second},
		"crash loop": {object: l.shell("crash", "echo starting; echo no config; exit 3"), cond: model.WaitHealthy, within: 60 * time.Second,
			wants: []string{`bring service "crash" up`, "exit code 3 (Error)", "started 3 times", "starting\n    no config"}, hint: "berth logs crash"},
		"no such program": {object: l.shell("program", "", container(func(c *corev1.Container) { c.Command = []string{"/no/such/program"} })),
			cond: model.WaitHealthy, within: 60 * time.Second, wants: []string{"/no/such/program"}, hint: "entrypoint"},
		"image missing": {object: l.shell("image", "", container(func(c *corev1.Container) { c.Image = "registry.invalid/nosuch:1" })), cond: model.WaitStarted, within: 30 * time.Second,
			wants: []string{`image "registry.invalid/nosuch:1" cannot be had on node`}, hint: "docker pull registry.invalid/nosuch:1"},
		"image not loaded": {object: l.shell("never", "", container(func(c *corev1.Container) { c.Image, c.ImagePullPolicy = "nosuch:1", corev1.PullNever })),
			cond: model.WaitHealthy, within: 20 * time.Second, wants: []string{`image "nosuch:1" is not on node`}, hint: "berth up"},
		"unschedulable": {object: l.shell("nowhere", "true", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.NodeSelector = map[string]string{"no": "such"}
		}), cond: model.WaitHealthy, within: 30 * time.Second, wants: []string{"no node can run pod", "node(s) didn't match"}, hint: "placement"},
		"too much memory": {object: l.shell("huge", "true", container(func(c *corev1.Container) {
			c.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("900Gi")}
		})), cond: model.WaitHealthy, within: 30 * time.Second, wants: []string{"Insufficient memory"}, hint: "reservations"},
		"failed healthcheck": {object: l.shell("sick", "echo serving; sleep 1000", container(failingProbe)), cond: model.WaitHealthy, within: 30 * time.Second,
			wants: []string{"still unhealthy 5s after its start", "no database", "serving"}, hint: "start_period"},
		"missing config": {object: l.shell("mount", "sleep 1000", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nosuch"}}}}}
			d.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		}), cond: model.WaitHealthy, within: 60 * time.Second, wants: []string{`FailedMount`, `configmap "nosuch" not found`}, hint: "configs"},
		"missing secret": {object: l.shell("secret", "sleep 1000", container(func(c *corev1.Container) {
			c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nosuch"}}}}
		})), cond: model.WaitHealthy, within: 40 * time.Second, wants: []string{`secret "nosuch" not found`}, hint: "secret"},
		"job failed": {object: once("failing", "echo migration 7 is broken >&2; exit 9"), cond: model.WaitCompleted, within: 30 * time.Second,
			wants: []string{`run service "failing" to its end`, "exit code 9 (Error)", "migration 7 is broken"}, hint: "berth logs failing"},
		"an end in peace is success where Docker would not restart": {object: l.shell("peace", "echo done", func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{AnnotationRestart: "no"}
		}), cond: model.WaitHealthy, within: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := l.Apply(t.Context(), []model.Object{c.object}); err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			service := c.object.GetLabels()[model.LabelService]
			err := l.Wait(withTimeout(t, c.within), service, c.cond, progress.Discard)
			t.Logf("after %s: %v", time.Since(started).Round(100*time.Millisecond), err)
			if len(c.wants) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var failure *Failure
			if !errors.As(err, &failure) {
				t.Fatalf("no failure but %v", err)
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q", want)
				}
			}
			if !strings.Contains(problem.Hint(err), c.hint) {
				t.Errorf("hint %q lacks %q", problem.Hint(err), c.hint)
			}
		})
	}
}

func TestQuotaIsTheReason(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-quota-%d", os.Getpid()))
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "small"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}}
	if _, err := l.Apply(t.Context(), []model.Object{quota}); err != nil {
		t.Fatal(err)
	}
	if err := until(withTimeout(t, 20*time.Second), func() (bool, error) { // the quota counts only once it has been counted
		q, err := kube.Get[corev1.ResourceQuota](t.Context(), client, l.namespace, "small")
		return err == nil && len(q.Status.Hard) > 0, err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Apply(t.Context(), []model.Object{l.shell("web", "sleep 1000")}); err != nil {
		t.Fatal(err)
	}
	err = l.Wait(withTimeout(t, 40*time.Second), "web", model.WaitHealthy, progress.Discard)
	if err == nil || !strings.Contains(err.Error(), "exceeded quota: small") || !strings.Contains(problem.Hint(err), "quota") {
		t.Errorf("error %v, hint %q", err, problem.Hint(err))
	}
}

// TestRolloutReplacesEveryPod changes a service under the eyes of a wait: it
// must not end before the old pods are gone.
func TestRolloutReplacesEveryPod(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-roll-%d", os.Getpid()))
	ctx := withTimeout(t, 2*time.Minute)
	three := func(d *appsv1.Deployment) { n := int32(3); d.Spec.Replicas = &n }
	seen := map[string]bool{}
	for _, script := range []string{"sleep 1000", "sleep 2000"} {
		if _, err := l.Apply(ctx, []model.Object{l.shell("web", script, three)}); err != nil {
			t.Fatal(err)
		}
		if err := l.Wait(ctx, "web", model.WaitHealthy, progress.Discard); err != nil {
			t.Fatal(err)
		}
		states, err := l.Observe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		live := 0
		for _, p := range states[0].Pods {
			if p.Phase != "Terminating" {
				live++
				if seen[p.Name] {
					t.Errorf("pod %s of the last revision is still there", p.Name)
				}
				seen[p.Name] = true
			}
		}
		if live != 3 || states[0].Ready != 3 {
			t.Errorf("%d pods, %d ready", live, states[0].Ready)
		}
	}
	if n, err := l.Rollback(ctx, "web", 0, nothingToBring); err != nil || n != 1 {
		t.Errorf("rolled back to %d, %v", n, err)
	}
	if err := l.Wait(ctx, "web", model.WaitHealthy, progress.Discard); err != nil {
		t.Error(err)
	}
	if err := l.Stop(ctx, "web"); err != nil {
		t.Error(err)
	}
	if err := l.Ended(ctx, "web"); err != nil {
		t.Error(err)
	}
	if err := l.Start(ctx, "web"); err != nil {
		t.Error(err)
	}
	if err := l.Wait(ctx, "web", model.WaitHealthy, progress.Discard); err != nil {
		t.Error(err)
	}
}

func TestManyWaitsShareTheirWatches(t *testing.T) {
	_, kubeContext := testneed.Cluster(t)
	client, err := kube.New("", kubeContext)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, client, fmt.Sprintf("berth-many-%d", os.Getpid()))
	var objects []model.Object
	for i := range 10 {
		d := l.shell(fmt.Sprintf("s%d", i), "sleep 1000")
		d.Spec.Replicas = new(int32)
		objects = append(objects, d)
	}
	if _, err := l.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	var waits sync.WaitGroup
	for i := range objects {
		waits.Go(func() {
			if err := l.Wait(withTimeout(t, 30*time.Second), fmt.Sprintf("s%d", i), model.WaitHealthy, progress.Discard); err != nil {
				t.Error(err)
			}
		})
	}
	waits.Wait()
	l.trackerMu.Lock()
	defer l.trackerMu.Unlock()
	if l.tracker != nil {
		t.Error("the watches outlive the last wait")
	}
}
