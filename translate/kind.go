package translate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// kind is the Kubernetes kind of a workload.
type kind string

const (
	deployment  kind = "Deployment"
	statefulSet kind = "StatefulSet"
	daemonSet   kind = "DaemonSet"
	job         kind = "Job"
	cronJob     kind = "CronJob"
	none        kind = "" // no workload of its own
)

// oneShot reports whether pods of this kind end.
func (k kind) oneShot() bool { return k == job || k == cronJob }

// hintedKinds are the values of x-berth.kind.
var hintedKinds = map[string]kind{
	"deployment": deployment, "statefulset": statefulSet, "daemonset": daemonSet, "job": job, "cronjob": cronJob,
}

// awaited returns the services, by path, that another awaits as completed.
func (t *translator) awaited() map[string]bool {
	out := map[string]bool{}
	for _, u := range t.units {
		for name, d := range u.svc.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				out["services."+name] = true
			}
		}
	}
	return out
}

// decideKinds decides what each unit becomes.
func (t *translator) decideKinds() {
	awaited := t.awaited()
	for _, u := range t.units {
		u.kind = t.kindOf(u, awaited[u.path])
		if u.kind == cronJob || u.kind == statefulSet {
			if len(u.kube) > maxCron {
				u.kube = t.kubeNames.within(maxCron).take(u.kube)
			}
		}
	}
}

// kindOf is the table of kinds, first match wins.
func (t *translator) kindOf(u *unit, awaited bool) kind {
	switch {
	case u.host != u, u.svc.Provider != nil, u.hints.ServiceType == "ExternalName":
		return none
	case u.job != nil:
		return cronJob
	case u.hints.Kind != "":
		return hintedKinds[u.hints.Kind]
	case awaited:
		return job
	}
	if d := u.svc.Deploy; d != nil {
		switch d.Mode {
		case "global":
			return daemonSet
		case "replicated-job", "global-job":
			return job
		}
	}
	if policy, _, explicit := restartPolicy(u.svc); explicit && !serves(u.svc) {
		if policy == types.RestartPolicyNo || policy == types.RestartPolicyOnFailure {
			return job
		}
	}
	return deployment
}

// serves reports whether a service shows that it stays up to answer others.
func serves(svc *types.ServiceConfig) bool {
	if len(svc.Ports) > 0 || len(svc.Expose) > 0 {
		return true
	}
	h := svc.HealthCheck
	return h != nil && !h.Disable && len(h.Test) > 0 && h.Test[0] != "NONE"
}

// restartPolicy returns compose's restart policy, the number of attempts that
// on-failure allows (-1 when unlimited), and whether the service says so.
// deploy.restart_policy wins over restart, as in docker compose.
func restartPolicy(svc *types.ServiceConfig) (policy string, attempts int, explicit bool) {
	attempts = -1
	if d := svc.Deploy; d != nil && d.RestartPolicy != nil {
		if n := d.RestartPolicy.MaxAttempts; n != nil {
			attempts = int(min(*n, 1<<30))
		}
		switch d.RestartPolicy.Condition {
		case "none", "no":
			return types.RestartPolicyNo, attempts, true
		case "on-failure":
			return types.RestartPolicyOnFailure, attempts, true
		}
		return types.RestartPolicyAlways, attempts, true
	}
	name, count, counted := strings.Cut(svc.Restart, ":")
	if counted {
		if n, err := strconv.Atoi(count); err == nil && n >= 0 {
			attempts = n
		}
	}
	if name == "" {
		return types.RestartPolicyNo, attempts, false
	}
	return name, attempts, true
}

// reportRestart says what became of the restart policy.
func (t *translator) reportRestart(u *unit) {
	policy, attempts, explicit := restartPolicy(u.svc)
	path := u.path + ".restart"
	if u.svc.Deploy != nil && u.svc.Deploy.RestartPolicy != nil {
		path = u.path + ".deploy.restart_policy.condition"
	}
	t.reportAttempts(u, policy)
	if !explicit {
		return
	}
	limit := ""
	if attempts >= 0 {
		limit = fmt.Sprintf(", at most %d times", attempts)
	}
	switch {
	case u.kind == none:
		if u.host != u && u.host.kind != none {
			t.report.approximated(path, "the pod of "+u.host.name+" decides when its containers start again", "")
		}
	case u.kind.oneShot() && policy == types.RestartPolicyNo && t.retries(u):
		t.report.approximated(path, fmt.Sprintf("a %s that is tried again, %d times at most: it may come before what it depends on", u.kind, jobRetries), "")
	case u.kind.oneShot() && policy == types.RestartPolicyNo:
		t.report.exact(path, "a "+string(u.kind)+" whose pod runs once")
	case u.kind.oneShot() && policy == types.RestartPolicyOnFailure:
		t.report.exact(path, "a "+string(u.kind)+" that runs again after a failure"+limit)
	case u.kind == cronJob:
		t.report.approximated(path, fmt.Sprintf("a CronJob, which runs at its next time again; %s would start it at once", policy), "remove restart")
	case u.kind.oneShot():
		t.report.approximated(path, fmt.Sprintf("a %s, which ends after its success; %s would start it again", u.kind, policy),
			"remove restart, or do not await the service as completed")
	case policy == types.RestartPolicyNo && !serves(u.svc):
		t.report.approximated(path, "a "+string(u.kind)+", which starts its containers again when they end", "set x-berth.kind: job if it ends by itself")
	case policy == types.RestartPolicyNo:
		t.report.approximated(path, "a "+string(u.kind)+", which starts its containers again when they end; it serves a port, so it is not expected to end",
			"set x-berth.kind: job if it ends by itself")
	case policy == types.RestartPolicyOnFailure && attempts >= 0:
		t.report.approximated(path, "a "+string(u.kind)+" starts its containers again without a limit",
			"set x-berth.kind: job if the number of attempts matters")
	case policy == types.RestartPolicyOnFailure:
		t.report.approximated(path, "a "+string(u.kind)+" starts its containers again also after exit 0", "set x-berth.kind: job if it ends by itself")
	default:
		t.report.exact(path, "a "+string(u.kind)+", which starts its containers again")
	}
}

// reportAttempts says what became of deploy.restart_policy.max_attempts, which
// Jobs alone know.
func (t *translator) reportAttempts(u *unit, policy string) {
	if u.svc.Deploy == nil || u.svc.Deploy.RestartPolicy == nil || u.svc.Deploy.RestartPolicy.MaxAttempts == nil {
		return
	}
	path := u.path + ".deploy.restart_policy.max_attempts"
	switch {
	case u.host != u:
		t.report.dropped(path, "the pod of "+u.host.name+" decides when its containers start again", "")
	case !u.kind.oneShot():
		t.report.dropped(path, "a "+string(u.kind)+" starts its containers again without a limit", "set x-berth.kind: job if the number of attempts matters")
	case policy != types.RestartPolicyOnFailure:
		t.report.dropped(path, "a "+string(u.kind)+" counts attempts after a failure only", "set condition: on-failure")
	}
}

// reportReplicas says when the number of pods is not the service's to say.
func (t *translator) reportReplicas(u *unit) {
	var paths []string
	if u.svc.Scale != nil {
		paths = append(paths, u.path+".scale")
	}
	if u.svc.Deploy != nil && u.svc.Deploy.Replicas != nil {
		paths = append(paths, u.path+".deploy.replicas")
	}
	for _, path := range paths {
		switch {
		case u.job != nil:
		case u.host != u && u.host.kind != none && replicasOf(u) != replicasOf(u.host):
			t.report.dropped(path, "as many as "+u.host.name+" has, in whose pods it runs", "")
		case u.kind == daemonSet:
			t.report.dropped(path, "a DaemonSet, which has one pod on every node", "")
		case u.hints.Autoscale != nil && (u.kind == deployment || u.kind == statefulSet):
			t.report.approximated(path, "the autoscaler decides, within its bounds", "")
		}
	}
}
