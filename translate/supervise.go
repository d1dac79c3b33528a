package translate

import (
	"fmt"
	"slices"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// supervised returns c with its program under berth's supervisor where it has a
// task: in the dev loop it starts the program again without a new container,
// which would lose the files that were synced into the old one; it is the init
// that a service asks for; and it sets ulimits, which pods do not have. It is a
// static program of the node, so that the image needs neither a shell nor rights.
func (t *translator) supervised(p *podVolumes, u *unit, s scope, c corev1.Container) corev1.Container {
	inPlace, wanted := t.restartsInPlace(u), asksForInit(u) || len(u.svc.Ulimits) > 0
	if !inPlace && !wanted {
		return c
	}
	entrypoint, args := t.wholeCommand(s, c)
	command := slices.Concat(entrypoint, args)
	if len(command) == 0 || !t.canPlace() {
		t.reportLimits(u, command)
		return c
	}
	init := []string{agentMount + "/init", "--stop-signal", stopSignal(s), "--grace", stopGrace(u).String()}
	if inPlace {
		policy, _, _ := restartPolicy(u.svc)
		init = append(init, "--restart", policy)
	} else {
		init = append(init, "--once")
	}
	// The two stay apart: a one-off command replaces the arguments alone.
	c.Command, c.Args = slices.Concat(init, t.ulimits(u), []string{"--"}, entrypoint), args
	c.VolumeMounts = append(slices.Clone(c.VolumeMounts), corev1.VolumeMount{Name: t.agentVolume(p), MountPath: agentMount, ReadOnly: true})
	if u.supervised = true; asksForInit(u) {
		t.report.exact(u.path+".init", "the first process of the container passes signals on and reaps zombies")
	}
	return c
}

// asksForInit reports whether u sets init: true.
func asksForInit(u *unit) bool { return u.svc.Init != nil && *u.svc.Init }

// limitNames are the ulimits that Linux has, by compose's names.
var limitNames = map[string]bool{
	"as": true, "core": true, "cpu": true, "data": true, "fsize": true, "locks": true, "memlock": true, "msgqueue": true, "nice": true,
	"nofile": true, "nproc": true, "rss": true, "rtprio": true, "rttime": true, "sigpending": true, "stack": true,
}

// ulimits are the supervisor's arguments for the limits of u.
func (t *translator) ulimits(u *unit) []string {
	var out []string
	for _, name := range sortedKeys(u.svc.Ulimits) {
		l, path := u.svc.Ulimits[name], u.path+".ulimits."+name
		if !limitNames[name] || l == nil {
			t.report.dropped(path, fmt.Sprintf("%q is no limit of Linux", name), Suggest(name, sortedKeys(limitNames)))
			continue
		}
		soft, hard := l.Soft, l.Hard
		if l.Single != 0 {
			soft, hard = l.Single, l.Single
		}
		out = append(out, "--ulimit", fmt.Sprintf("%s=%d:%d", name, max(soft, -1), max(hard, -1)))
		t.report.approximated(path, "set before the program starts, as far as the hard limit of the node's containers; the log says if that is not far enough", "")
	}
	return out
}

// reportLimits says why the limits of u cannot be set.
func (t *translator) reportLimits(u *unit, command []string) {
	if len(u.svc.Ulimits) > 0 && len(command) == 0 && t.canPlace() {
		t.unknownImage(u.path+".ulimits", "the nodes' defaults hold: to set limits first, berth must know what the image starts")
	}
}

// restartsInPlace reports whether the dev loop starts the program of u again
// while its container stays. A one-shot service ends by itself.
func (t *translator) restartsInPlace(u *unit) bool {
	if !t.target.Dev || !t.owned() || t.target.AgentDir == "" || u.svc.Develop == nil || u.host.kind == job || u.host.kind == cronJob {
		return false
	}
	return slices.ContainsFunc(u.svc.Develop.Watch, func(rule types.Trigger) bool {
		return rule.Action == types.WatchActionRestart || rule.Action == types.WatchActionSyncRestart
	})
}

// wholeCommand is what a container runs, with what its image adds; nothing when
// the image would have to be known for that.
func (t *translator) wholeCommand(s scope, c corev1.Container) (entrypoint, args []string) {
	switch {
	case c.Command != nil:
		return c.Command, c.Args
	case s.facts == nil:
		return nil, nil
	case c.Args != nil:
		return escapeAll(s.facts.Entrypoint), c.Args
	}
	return escapeAll(s.facts.Entrypoint), escapeAll(s.facts.Cmd)
}

// stopSignal is what asks the program of a container to end.
func stopSignal(s scope) string {
	for _, name := range []string{s.spec.StopSignal, imageStopSignal(s)} {
		if signal := SignalName(name); signal != "" {
			return signal
		}
	}
	return "SIGTERM"
}

func imageStopSignal(s scope) string {
	if s.facts == nil {
		return ""
	}
	return s.facts.StopSignal
}

// stopGrace is the stop_grace_period of u: how long its program may take to
// end before it is killed.
func stopGrace(u *unit) time.Duration {
	d := u.svc.StopGracePeriod
	switch {
	case d == nil:
		return grace * time.Second
	case *d <= 0:
		return time.Millisecond // at once; the supervisor takes 0 for its default
	}
	return durationOf(*d)
}

// agentVolume is the volume of a pod that shows the node agent's directory.
func (t *translator) agentVolume(p *podVolumes) string {
	return p.add("agent", "berth-agent", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
		Path: t.target.AgentDir, Type: ptr(corev1.HostPathDirectory),
	}})
}
