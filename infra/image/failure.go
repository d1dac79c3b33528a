package image

import (
	"fmt"
	"regexp"
	"strings"

	solvererrors "github.com/moby/buildkit/solver/errdefs"

	"github.com/berth-dev/berth/infra/problem"
)

// buildProblem explains why a build failed: the step, the lines of the
// Dockerfile, and the step's last lines of output.
func buildProblem(name string, s *steps, err error) error {
	var text strings.Builder
	if step := s.names[s.failed]; step != "" {
		fmt.Fprintf(&text, "step %q\n", step)
	}
	text.WriteString(reason(err))
	for _, source := range solvererrors.Sources(err) {
		var lines strings.Builder
		if source.Print(&lines) == nil && lines.Len() > 0 {
			text.WriteString("\n" + strings.TrimRight(lines.String(), "\n"))
		}
	}
	if out := s.output[s.failed]; len(out) > 0 {
		text.WriteString("\nits output ends with:\n  " + strings.Join(out, "\n  "))
	}
	return problem.New(fmt.Sprintf("build image %q", name), &buildError{text.String(), err}, buildHint(s, err))
}

// A buildError prints as one text and keeps BuildKit's error chain.
type buildError struct {
	text string
	err  error
}

func (e *buildError) Error() string { return e.text }
func (e *buildError) Unwrap() error { return e.err }

// wrapping are the prefixes that BuildKit's layers add and that tell nothing.
var wrapping = regexp.MustCompile(`^(failed to solve: |rpc error: code = \w+ desc = |failed to solve with frontend [\w.]+: |failed to build LLB: |failed to compute cache key: )+`)

// reason is an error's text without BuildKit's own layers in front.
func reason(err error) string { return wrapping.ReplaceAllString(err.Error(), "") }

// What BuildKit says when it looks for an image in vain: its error and, of old
// versions, only the step.
var (
	unresolved     = regexp.MustCompile(`failed to resolve source metadata for ([^\s:]+(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?)`)
	unresolvedStep = regexp.MustCompile(`^(?:\[internal\] load metadata for|resolve image config for) (?:docker-image://)?(\S+)$`)
)

// missingBase is the image that a build could not be given, or "".
func missingBase(s *steps, err error) string {
	if m := unresolved.FindStringSubmatch(err.Error()); m != nil {
		return familiar(m[1])
	}
	if m := unresolvedStep.FindStringSubmatch(s.names[s.failed]); m != nil {
		return familiar(m[1])
	}
	return ""
}

func buildHint(s *steps, err error) string {
	if base := missingBase(s, err); base != "" {
		return fmt.Sprintf("bring image %q into the engine: `docker pull %s`, or `docker load -i FILE` where there is no registry; `berth offline build` makes stand-ins of common base images", base, base)
	}
	if unreachable(s, err) {
		return askDoctor
	}
	if m := refusedRight.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Sprintf("allow it in the engine's daemon.json: {\"builder\": {\"entitlements\": {%q: true}}}", strings.ReplaceAll(m[1], ".", "-"))
	}
	return ""
}

// refusedRight is what BuildKit says of build.privileged and build.entitlements
// that the engine does not grant.
var refusedRight = regexp.MustCompile(`granting entitlement (\S+) is not allowed`)

// familiar shortens docker.io/library/redis:7 to redis:7.
func familiar(ref string) string {
	ref = strings.TrimPrefix(ref, "docker.io/")
	return strings.TrimPrefix(ref, "library/")
}
