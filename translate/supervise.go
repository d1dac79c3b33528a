package translate

import (
	"slices"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// supervised returns c with its program under berth's supervisor, where the
// dev loop has to start the program again without a new container: a new one
// would lose the files that were synced into it. The supervisor is a static
// program of the node, so that the image needs neither a shell nor rights.
func (t *translator) supervised(p *podVolumes, u *unit, s scope, c corev1.Container) corev1.Container {
	command := t.wholeCommand(s, c)
	if !t.restartsInPlace(u) || len(command) == 0 {
		return c
	}
	policy, _, _ := restartPolicy(u.svc)
	c.Command = slices.Concat([]string{
		agentMount + "/init", "--stop-signal", stopSignal(s), "--grace", stopGrace(u).String(), "--restart", policy, "--",
	}, command)
	c.Args = nil
	c.VolumeMounts = append(slices.Clone(c.VolumeMounts), corev1.VolumeMount{Name: t.agentVolume(p), MountPath: agentMount, ReadOnly: true})
	return c
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

// wholeCommand is what a container runs, with what its image adds; nil when
// the image would have to be known for that.
func (t *translator) wholeCommand(s scope, c corev1.Container) []string {
	switch {
	case c.Command != nil:
		return slices.Concat(c.Command, c.Args)
	case s.facts == nil:
		return nil
	case c.Args != nil:
		return slices.Concat(escapeAll(s.facts.Entrypoint), c.Args)
	}
	return slices.Concat(escapeAll(s.facts.Entrypoint), escapeAll(s.facts.Cmd))
}

// stopSignal is what asks the program of a container to end.
func stopSignal(s scope) string {
	for _, name := range []string{s.spec.StopSignal, imageStopSignal(s)} {
		if signal := signalName(name); signal != "" {
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
