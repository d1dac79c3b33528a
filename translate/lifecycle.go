package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// lifecycle translates post_start, pre_stop and stop_signal.
func (t *translator) lifecycle(u *unit, s scope) *corev1.Lifecycle {
	var l corev1.Lifecycle
	if command := t.fittingHook(u, ".post_start", u.svc.PostStart); command != nil {
		l.PostStart = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
	}
	stop := t.fittingHook(u, ".pre_stop", u.svc.PreStop)
	if s.spec.StopSignal != "" && SignalName(s.spec.StopSignal) != "SIGTERM" {
		signal := SignalName(s.spec.StopSignal)
		path := u.path + ".stop_signal"
		switch {
		case signal == "":
			t.report.dropped(path, fmt.Sprintf("%q is no signal", s.spec.StopSignal), "")
		case t.owned():
			l.StopSignal = ptr(corev1.Signal(signal))
		case signal == "SIGKILL":
			t.report.approximated(path, "killed at once, by a grace period of 0 seconds", "")
		case t.sharesProcesses(u.host):
			t.report.dropped(path, "SIGTERM: in a pod that shares its processes none can tell which one gets the signal", "remove pid, or use a cluster made by berth")
		default:
			stop = sendSignal(stop, strings.TrimPrefix(signal, "SIG"))
			t.report.approximated(path, "a shell of the image sends the signal before the pod stops", "the image needs /bin/sh and kill")
		}
	}
	if stop != nil {
		l.PreStop = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: stop}}
	}
	if l == (corev1.Lifecycle{}) {
		return nil
	}
	return ptr(l)
}

// sendSignal returns a command that runs stop, sends the signal to the first
// process and waits for its end, for the kubelet sends SIGTERM afterwards.
func sendSignal(stop []string, signal string) []string {
	script := "kill -s " + signal + " 1; while kill -0 1 2>/dev/null; do sleep 0.1; done"
	if stop != nil {
		script = quoteAll(stop) + "; " + script
	}
	return []string{"/bin/sh", "-c", script}
}

// sendsSignal reports whether a shell of the image sends stop_signal to the
// first process of the container.
func (t *translator) sendsSignal(u *unit) bool {
	signal := SignalName(u.svc.StopSignal)
	return !t.owned() && signal != "" && signal != "SIGTERM" && signal != "SIGKILL"
}

// sharesProcesses reports whether the first process of a container in the pod
// of u is not the container's own.
func (t *translator) sharesProcesses(u *unit) bool {
	return slices.ContainsFunc(append([]*unit{u}, u.carried...), func(m *unit) bool {
		ref, service := serviceRef(m.svc.Pid)
		return service && t.together(m, ref) || m.svc.Pid == "host"
	})
}

// SignalName returns the name of a signal with its SIG, "" for none. Kubernetes
// knows signals by name only.
func SignalName(s string) string {
	name := strings.ToUpper(strings.TrimSpace(s))
	if n, ok := signalNumbers[name]; ok {
		name = n
	}
	name = strings.TrimPrefix(name, "SIG")
	if knownSignals[name] {
		return "SIG" + name
	}
	return realTimeSignal(name)
}

// realTimeSignal returns the name of RTMIN, RTMIN+1..15, RTMAX-14..1 or RTMAX,
// "" for anything else.
func realTimeSignal(name string) string {
	if name == "RTMIN" || name == "RTMAX" {
		return "SIG" + name
	}
	base, most := "RTMIN+", 15
	if strings.HasPrefix(name, "RTMAX-") {
		base, most = "RTMAX-", 14
	}
	if n, ok := strings.CutPrefix(name, base); ok {
		if i, ok := parseUint(n); ok && i >= 1 && i <= most {
			return "SIG" + base + strconv.Itoa(i) // +03 is no name of Kubernetes
		}
	}
	return ""
}

// signalNumbers are the names of those signals that people write as numbers.
var signalNumbers = map[string]string{
	"1": "HUP", "2": "INT", "3": "QUIT", "4": "ILL", "5": "TRAP", "6": "ABRT", "7": "BUS", "8": "FPE", "9": "KILL",
	"10": "USR1", "12": "USR2", "13": "PIPE", "14": "ALRM", "15": "TERM", "28": "WINCH", "37": "RTMIN+3",
}

var knownSignals = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range strings.Fields("ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ") {
		m[s] = true
	}
	return m
}()

// fittingHook is hookCommand, nil for what does not fit the pod.
func (t *translator) fittingHook(u *unit, attribute string, hooks []types.ServiceHook) []string {
	command := t.hookCommand(u.path+attribute, hooks)
	if !t.fits(u, 1, command) {
		t.report.block(u.path+attribute, Dropped, tooLarge(), "put it into a script, with configs")
		return nil
	}
	return command
}

// hookCommand returns the command of a list of hooks, nil for none. One plain
// hook runs as it is; more, or one with a directory or variables, need the
// image's shell.
func (t *translator) hookCommand(path string, hooks []types.ServiceHook) []string {
	var scripts []string
	shell := len(hooks) > 1
	for i, h := range hooks {
		at := fmt.Sprintf("%s[%d]", path, i)
		if len(h.Command) == 0 {
			t.report.dropped(at, "has no command", "")
			continue
		}
		if h.User != "" {
			t.report.dropped(at+".user", "the hook runs as the container's user", "")
		}
		if h.Privileged {
			t.report.dropped(at+".privileged", "the hook has the container's rights", "")
		}
		script := quoteAll(h.Command)
		if env := t.exports(at+".environment.", h.Environment); env != "" {
			script, shell = env+script, true
		}
		if h.WorkingDir != "" {
			script, shell = "cd "+quote(h.WorkingDir)+" && "+script, true
		}
		scripts = append(scripts, script)
	}
	switch {
	case len(scripts) == 0:
		return nil
	case !shell:
		return hooks[0].Command
	}
	t.report.approximated(path, "run by the image's /bin/sh: several hooks, or one with its own directory or variables", "the image needs /bin/sh")
	script := scripts[0]
	if len(scripts) > 1 {
		script = "(" + strings.Join(scripts, ") && (") + ")"
	}
	return []string{"/bin/sh", "-c", script}
}

// exports returns "A='b' C='d' " for a shell.
func (t *translator) exports(path string, env types.MappingWithEquals) string {
	var b strings.Builder
	for _, name := range sortedKeys(env) {
		v := env[name]
		switch {
		case v == nil:
		case !isShellName(name):
			t.report.dropped(path+name, fmt.Sprintf("a shell, which runs the hook, has no variable of the name %q", name), "rename the variable")
		default:
			b.WriteString(name + "=" + quote(*v) + " ")
		}
	}
	return b.String()
}

// isShellName reports whether a shell takes name for a variable.
func isShellName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func quoteAll(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = quote(a)
	}
	return strings.Join(out, " ")
}

// quote returns s as one word of a shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
