package apply

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestImagesAreThoseOfEveryWorkload(t *testing.T) {
	spec := func(images ...string) corev1.PodSpec {
		var s corev1.PodSpec
		for _, image := range images {
			s.Containers = append(s.Containers, corev1.Container{Image: image})
		}
		return s
	}
	s := newSnapshot()
	none := int32(0)
	d := &appsv1.Deployment{}
	d.Spec.Replicas, d.Spec.Template.Spec = &none, spec("stopped", "shared")
	d.Spec.Template.Spec.InitContainers = []corev1.Container{{Image: "init"}}
	d.Spec.Template.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "volume"}}}}
	s.deployments.put(d)
	st, ds, j, cj, pod := &appsv1.StatefulSet{}, &appsv1.DaemonSet{}, &batchv1.Job{}, &batchv1.CronJob{}, &corev1.Pod{}
	st.Spec.Template.Spec, ds.Spec.Template.Spec = spec("db"), spec("each")
	j.Spec.Template.Spec, cj.Spec.JobTemplate.Spec.Template.Spec = spec("job"), spec("cron")
	pod.Spec = spec("shared", "oneoff")
	s.statefulSets.put(st)
	s.daemonSets.put(ds)
	s.jobs.put(j)
	s.cronJobs.put(cj)
	s.pods.put(pod)
	want := []string{"cron", "db", "each", "init", "job", "oneoff", "shared", "stopped", "volume"}
	if got := s.images(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
