package translate

import (
	"math"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// Docker's timings of a health check that names none.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultRetries       = 3
	defaultStartInterval = 5 * time.Second
)

// health is a health check with every default filled in.
type health struct {
	command       []string // as exec'd; nil for no check
	interval      time.Duration
	timeout       time.Duration
	retries       int32
	startPeriod   time.Duration
	startInterval time.Duration // 0 when neither the file nor the image names one
}

// probes returns the readiness and startup probes of a health check. There is
// no liveness probe: Docker never restarts an unhealthy container.
//
// The startup probe asks often until the first success, as Docker does within
// start_period, and its threshold is never reached, so it never kills; from
// then on the readiness probe asks at the check's interval.
func (t *translator) probes(s scope, h *types.HealthCheckConfig) (readiness, startup *corev1.Probe) {
	check := t.healthOf(s, h)
	if check.command == nil {
		return nil, nil
	}
	if !t.fits(s.unit, 2, check.command) {
		t.report.block(s.path+".healthcheck.test", Dropped, tooLarge(), "put it into a script, with configs")
		return nil, nil
	}
	handler := corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: check.command}}
	readiness = &corev1.Probe{
		ProbeHandler:     handler,
		PeriodSeconds:    seconds(check.interval),
		TimeoutSeconds:   seconds(check.timeout),
		FailureThreshold: check.retries,
	}
	period := check.startInterval
	switch {
	case period > 0:
	case check.startPeriod > 0:
		period = defaultStartInterval
	default: // Docker would ask at the interval only; sooner does no harm and starts dependents earlier
		period = time.Second
	}
	startup = &corev1.Probe{
		ProbeHandler:     handler,
		PeriodSeconds:    min(seconds(period), readiness.PeriodSeconds),
		TimeoutSeconds:   readiness.TimeoutSeconds,
		FailureThreshold: math.MaxInt32,
	}
	return readiness, startup
}

// healthOf combines the service's health check with the image's.
func (t *translator) healthOf(s scope, h *types.HealthCheckConfig) health {
	if h == nil {
		h = &types.HealthCheckConfig{}
	}
	if h.Disable {
		return health{}
	}
	var image Health
	if s.facts != nil && s.facts.Health != nil {
		image = *s.facts.Health
	}
	test := []string(h.Test)
	if len(test) > 0 && test[0] == "NONE" {
		t.report.exact(s.path+".healthcheck.test", "no probe, not even the image's")
	}
	if len(test) == 0 {
		test = image.Test
		if s.facts == nil && (h.Interval != nil || h.Timeout != nil || h.Retries != nil || h.StartPeriod != nil || h.StartInterval != nil) {
			t.unknownImage(s.path+".healthcheck", "no probe: the check has no test, and the image's is not known")
		}
	}
	check := health{
		command:       escapeAll(testCommand(test, s.facts)), // the kubelet expands $(NAME) in probes, though not in hooks
		interval:      firstDuration(h.Interval, image.Interval, defaultInterval),
		timeout:       firstDuration(h.Timeout, image.Timeout, defaultTimeout),
		retries:       defaultRetries,
		startPeriod:   firstDuration(h.StartPeriod, image.StartPeriod, 0),
		startInterval: firstDuration(h.StartInterval, image.StartInterval, 0),
	}
	if h.Retries != nil && *h.Retries > 0 {
		check.retries = int32(min(*h.Retries, math.MaxInt32))
	} else if image.Retries > 0 {
		check.retries = int32(min(image.Retries, math.MaxInt32))
	}
	return check
}

// testCommand returns the command line of a health check's test, nil for none.
func testCommand(test []string, facts *ImageFacts) []string {
	if len(test) < 2 {
		return nil // NONE, or nothing to run
	}
	switch test[0] {
	case "CMD":
		return test[1:]
	case "CMD-SHELL":
		return append(shellOf(facts), test[1:]...)
	}
	return nil
}

// shellOf is the shell of an image, /bin/sh -c unless it names another.
func shellOf(facts *ImageFacts) []string {
	if facts != nil && len(facts.Shell) > 0 {
		return append([]string(nil), facts.Shell...)
	}
	return []string{"/bin/sh", "-c"}
}

// firstDuration returns the first of the values that is set and positive.
func firstDuration(own *types.Duration, image, fallback time.Duration) time.Duration {
	if own != nil && *own > 0 {
		return time.Duration(*own)
	}
	if image > 0 {
		return image
	}
	return fallback
}

// seconds rounds d up to whole seconds, at least one.
func seconds(d time.Duration) int32 {
	s := (d + time.Second - 1) / time.Second
	return int32(max(1, min(s, math.MaxInt32)))
}
