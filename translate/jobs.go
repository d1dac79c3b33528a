package translate

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// never is a schedule that no day has: what runs by hand only is a suspended
// CronJob, and a CronJob has a schedule.
const never = "0 0 31 2 *"

// cronJob returns the CronJob of a compose job, or of a service that
// x-berth makes one.
func (t *translator) cronJob(u *unit, meta metav1.ObjectMeta, template corev1.PodTemplateSpec) *batchv1.CronJob {
	c := &batchv1.CronJob{TypeMeta: typeMeta("batch/v1", "CronJob"), ObjectMeta: meta}
	c.Spec = batchv1.CronJobSpec{
		Schedule:          u.hints.Schedule,
		ConcurrencyPolicy: batchv1.ForbidConcurrent,
		JobTemplate:       batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: t.labels(u)}, Spec: t.jobSpec(u, template)},
	}
	if u.job == nil {
		return c
	}
	triggers := u.job.Triggers
	path := u.path + ".triggers"
	if triggers == nil || len(triggers.Schedule) == 0 {
		c.Spec.Schedule, c.Spec.Suspend = never, ptr(true)
		t.report.approximated(path, "a suspended CronJob", "kubectl create job --from=cronjob/"+u.kube+" NAME")
		return c
	}
	first := triggers.Schedule[0]
	c.Spec.Schedule = first.Cron
	if first.Timezone != "" {
		c.Spec.TimeZone = ptr(first.Timezone)
	}
	if first.Concurrency == "queue" {
		t.report.approximated(path+".schedule[0].concurrency", "a run that comes while the one before goes on is left out, not queued", "")
	}
	if first.MissedFires == "skip" {
		c.Spec.StartingDeadlineSeconds = ptr(int64(60))
		t.report.approximated(path+".schedule[0].missed_fires", "a run that is more than 60 s late is left out", "")
	}
	if triggers.Manual != nil && !*triggers.Manual {
		t.report.approximated(path+".manual", "nothing keeps a user from starting it by hand", "")
	}
	return c
}

// moreCronJobs returns a CronJob for every further schedule of a compose job.
func (t *translator) moreCronJobs(u *unit, first *batchv1.CronJob) []Object {
	if u.job == nil || u.job.Triggers == nil || len(u.job.Triggers.Schedule) < 2 {
		return nil
	}
	var out []Object
	for i, s := range u.job.Triggers.Schedule[1:] {
		c := first.DeepCopy()
		c.Name = t.kubeNames.within(maxCron).take(suffixed(u.kube, fmt.Sprintf("-%d", i+2), maxCron))
		c.Spec.Schedule, c.Spec.TimeZone, c.Spec.StartingDeadlineSeconds = s.Cron, nil, nil
		if s.Timezone != "" {
			c.Spec.TimeZone = ptr(s.Timezone)
		}
		path := itemPath(u.path, "triggers.schedule", i+1)
		if s.Concurrency == "queue" {
			t.report.approximated(path+".concurrency", "a run that comes while the one before goes on is left out, not queued", "")
		}
		if s.MissedFires == "skip" {
			c.Spec.StartingDeadlineSeconds = ptr(int64(60))
			t.report.approximated(path+".missed_fires", "a run that is more than 60 s late is left out", "")
		}
		out = append(out, c)
	}
	return slices.Clip(out)
}
