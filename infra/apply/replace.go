package apply

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// mustReplace says why an object has to be deleted and made anew, "" when it
// can be changed in place or need not be touched. Only objects without data
// and without users that would notice are ever replaced.
func mustReplace(it *item) string {
	if it.live == nil || it.live.GetDeletionTimestamp() != nil {
		return ""
	}
	switch it.key.Kind {
	case "Service":
		// The address of a Service cannot be added or taken away later.
		if headless(it.live) != headless(it.manifest) {
			return "it changes between a virtual address and the pods' own"
		}
	case "Job":
		if jobFailed(it.live) {
			return "its last run failed"
		}
	}
	return ""
}

func headless(service *unstructured.Unstructured) bool {
	ip, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	return ip == corev1.ClusterIPNone
}

// jobEnded reports whether a Job will run no more.
func jobEnded(u *unstructured.Unstructured) bool {
	job, err := kube.As[batchv1.Job](u)
	return err == nil && (jobCondition(job, batchv1.JobComplete) != nil || jobCondition(job, batchv1.JobFailed) != nil)
}

func jobFailed(u *unstructured.Unstructured) bool {
	job, err := kube.As[batchv1.Job](u)
	return err == nil && jobCondition(job, batchv1.JobFailed) != nil
}

func jobCondition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// replace deletes an object, with what it owns, and makes it anew.
func (p *Project) replace(ctx context.Context, it *item, what, reason string) error {
	live := it.live
	if live == nil {
		var err error
		if live, err = p.client.GetAny(ctx, it.key); err != nil {
			return problem.New(what, err, "")
		}
	}
	if err := p.client.Delete(ctx, it.key, kube.DeleteOptions{UID: live.GetUID(), Foreground: true}); err != nil {
		return problem.New(what, err, "")
	}
	if err := p.waitGone(ctx, it.key, live.GetUID(), "is made anew: "+reason); err != nil {
		return problem.New(what, err, "")
	}
	it.live = nil
	if err := p.send(ctx, it); err != nil {
		return problem.New(what, err, cure(it, err))
	}
	it.verb = model.Updated
	return nil
}

// waitGone waits until an incarnation of an object no longer exists.
func (p *Project) waitGone(ctx context.Context, key model.ObjectKey, uid types.UID, why string) error {
	var task *progress.Task
	err := until(ctx, func() (bool, error) {
		live, err := p.client.GetAny(ctx, key)
		if kube.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if live.GetUID() != uid {
			return true, nil
		}
		text := fmt.Sprintf("%s %q %s; waiting until it is gone", key.Kind, key.Name, why)
		if task == nil {
			task = progress.Start(p.sink, "replace "+key.String(), text)
		} else {
			task.Update(text)
		}
		return false, nil
	})
	if task != nil {
		return task.End(err, "")
	}
	return err
}

// immutableText reports whether the API server's answer is about a field that
// cannot change; it has no code of its own for that.
func immutableText(err error) bool {
	text := err.Error()
	return strings.Contains(text, "immutable") || strings.Contains(text, "are forbidden") || strings.Contains(text, "may not change")
}

// cure is the advice for an object that the API server refused.
func cure(it *item, err error) string {
	switch {
	case apierrors.IsForbidden(err) && it.key.Kind != "PersistentVolumeClaim":
		return "the cluster's quota, policy or your rights forbid it; `kubectl auth can-i --list` shows the rights"
	case !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err):
		return ""
	case apierrors.IsInvalid(err) && !immutableText(err):
		return "`berth translate` prints the manifest that was refused"
	}
	switch it.key.Kind {
	case "PersistentVolumeClaim":
		return "a volume cannot be changed once it exists: undo the change, or give it up with its data: berth down --volumes"
	case "StatefulSet", "Deployment", "DaemonSet":
		return "part of it cannot be changed in place: `berth down`, then `berth up`; volumes stay"
	}
	return fmt.Sprintf("if it cannot be changed in place: kubectl -n %s delete %s %s, then run the command again", it.key.Namespace, it.key.Kind, it.key.Name)
}
