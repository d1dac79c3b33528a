package translate

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// Literal keeps Kubernetes from expanding $(NAME) and $$ in s, the value of a
// variable or a word of a command.
func Literal(s string) string { return escape(s) }

// escape keeps Kubernetes from expanding s: compose has already put every
// variable in. Kubernetes turns $(NAME) into a value and $$ into $, and mangles
// a letter beyond ASCII that follows a $; doubling that $ prevents all three.
func escape(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '(' || s[i+1] >= 0x80) {
			b.WriteByte('$')
		}
	}
	return b.String()
}

func escapeAll(list []string) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = escape(s)
	}
	return out
}

// env returns the environment of a container, sorted by name.
func (t *translator) env(s scope) []corev1.EnvVar {
	vars := make([]corev1.EnvVar, 0, len(s.spec.Environment))
	path := s.path + ".environment"
	for _, name := range sortedKeys(s.spec.Environment) {
		value := s.spec.Environment[name]
		switch {
		case !isEnvName(name):
			t.report.dropped(path+"."+name, fmt.Sprintf("Kubernetes allows no variable of the name %q", name), "rename the variable")
		case value == nil:
			if s.facts != nil && hasEnv(s.facts.Env, name) {
				t.report.approximated(path+"."+name, "the image's own value stays: a pod cannot remove a variable of its image", "set the variable to an empty value")
			}
		case !utf8.ValidString(*value):
			t.report.block(path+"."+name, Dropped, "left out: the value is not valid UTF-8, and Kubernetes takes no other text", "")
		case !t.hasRoom(s, name, *value):
			t.report.block(path+"."+name, Dropped, fmt.Sprintf("left out: %d bytes; Linux takes %d of one variable, and a pod has room for %d of all", len(*value), maxVariable, maxVariables), "put it into a file, with configs or secrets")
		default:
			vars = append(vars, corev1.EnvVar{Name: name, Value: escape(*value)})
		}
	}
	return vars
}

// Bounds of variables in bytes: of one with its name, which is Linux's limit of
// a single string (MAX_ARG_STRLEN), and of those of all containers of a pod,
// so that its object is not too large for the API server (1.5 MiB).
const (
	maxVariable  = 128 << 10
	maxVariables = 640 << 10
)

// hasRoom reports whether a variable fits the pod beside those before it.
func (t *translator) hasRoom(s scope, name, value string) bool {
	size := len(name) + len(value) + 2
	used := t.envUsed[s.unit.host] + size + 32 // and what is around it in the object
	if size > maxVariable || used > maxVariables {
		return false
	}
	t.envUsed[s.unit.host] = used
	return true
}

// fits reports whether words of a command, or other texts, fit the pod of u
// beside what it has already, so many times.
func (t *translator) fits(u *unit, times int, lists ...[]string) bool {
	total := 0
	for _, words := range lists {
		for _, w := range words {
			if len(w) >= maxVariable {
				return false
			}
			total += len(w) + 8
		}
	}
	used := t.envUsed[u.host] + total*times
	if used > maxVariables {
		return false
	}
	t.envUsed[u.host] = used
	return true
}

// tooLarge is why words of a command are left out.
func tooLarge() string {
	return fmt.Sprintf("left out: Linux takes %d bytes of one word, and a pod has room for %d of all its commands and variables", maxVariable, maxVariables)
}

// isEnvName reports whether Kubernetes accepts name: printable ASCII without
// the equals sign.
func isEnvName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return name != ""
}

func hasEnv(env []string, name string) bool {
	return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// process returns command and args of a container, if they fit the pod.
func (t *translator) process(s scope) (command, args []string) {
	command, args = t.commandOf(s)
	path := s.path + ".command"
	if len(s.spec.Command) == 0 {
		path = s.path + ".entrypoint"
	}
	if !t.fits(s.unit, 1, command, args) {
		t.report.block(path, Dropped, tooLarge(), "put it into a script, with configs")
		return nil, nil
	}
	return command, args
}

// commandOf returns command and args of a container. Kubernetes' command is
// Docker's entrypoint; giving one forgets the image's own arguments, there as
// here. A cleared list (set, but empty) needs to know what the image has.
func (t *translator) commandOf(s scope) (command, args []string) {
	entrypoint, cmd := s.spec.Entrypoint, s.spec.Command
	command, args = escapeAll(entrypoint), escapeAll(cmd)
	switch {
	case entrypoint == nil && cmd != nil && len(cmd) == 0:
		if s.facts == nil {
			t.unknownImage(s.path+".command", "the image's own arguments stay: clearing them needs its ENTRYPOINT")
			return nil, nil
		}
		if len(s.facts.Entrypoint) == 0 {
			t.report.block(s.path+".command", Dropped, "nothing is left to run: the command is cleared and the image has no ENTRYPOINT", "set a command")
			return nil, nil
		}
		return escapeAll(s.facts.Entrypoint), nil
	case entrypoint != nil && len(entrypoint) == 0 && len(cmd) > 0:
		return args, nil // the first argument is the program
	case entrypoint != nil && len(entrypoint) == 0:
		if s.facts == nil {
			t.unknownImage(s.path+".entrypoint", "the image's own entrypoint stays: clearing it needs its CMD")
			return nil, nil
		}
		if len(s.facts.Cmd) == 0 {
			t.report.block(s.path+".entrypoint", Dropped, "nothing is left to run: the entrypoint is cleared and the image has no CMD", "set a command")
			return nil, nil
		}
		return escapeAll(s.facts.Cmd), nil
	}
	return nilIfEmpty(command), nilIfEmpty(args)
}

func nilIfEmpty[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// unknownImage reports a rule that had to guess because nothing is known of
// the image.
func (t *translator) unknownImage(path, done string) {
	t.report.approximated(path, done, "translate with --inspect-images, or let berth up do it")
}

// modelEnv returns the variables that lead a service to its models.
func (t *translator) modelEnv(s scope) []corev1.EnvVar {
	var vars []corev1.EnvVar
	for _, key := range sortedKeys(s.spec.Models) {
		base := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(key))
		endpoint, model := base+"_URL", base+"_MODEL"
		if m := s.spec.Models[key]; m != nil {
			if m.EndpointVariable != "" {
				endpoint = m.EndpointVariable
			}
			if m.ModelVariable != "" {
				model = m.ModelVariable
			}
		}
		vars = t.modelVariable(vars, s, key, endpoint, modelEndpoint)
		vars = t.modelVariable(vars, s, key, model, escape(t.modelName(key)))
		done := fmt.Sprintf("%s leads to the model runner of the host, %s, which must listen on TCP", endpoint, modelEndpoint)
		if t.owned() {
			t.report.approximated(s.path+".models."+key, done, "docker desktop enable model-runner --tcp 12434")
		} else {
			t.report.needsCluster(s.path+".models."+key, done, "point "+endpoint+" at a model server of the cluster")
		}
	}
	return vars
}

// modelVariable adds one variable of a model, if there can be one.
func (t *translator) modelVariable(vars []corev1.EnvVar, s scope, key, name, value string) []corev1.EnvVar {
	path := s.path + ".models." + key
	switch {
	case !isEnvName(name):
		t.report.dropped(path, fmt.Sprintf("Kubernetes allows no variable of the name %q", name), "give endpoint_var and model_var names of variables")
	case !t.hasRoom(s, name, value):
		t.report.dropped(path, fmt.Sprintf("left out: a pod has room for %d bytes of variables", maxVariables), "put variables into a file, with configs or secrets")
	default:
		vars = append(vars, corev1.EnvVar{Name: name, Value: value})
	}
	return vars
}

// modelEndpoint is where a host's model runner listens, seen from pods.
const modelEndpoint = "http://" + hostName + ":12434/engines/v1/"

// modelName is what a model is called by its runner.
func (t *translator) modelName(key string) string {
	m, ok := t.project.Models[key]
	switch {
	case ok && m.Model != "":
		return m.Model
	case ok && m.Name != "":
		return m.Name
	}
	return key
}

// mergeEnv returns vars with those of more that vars does not name, sorted.
func mergeEnv(vars, more []corev1.EnvVar) []corev1.EnvVar {
	for _, v := range more {
		if !slices.ContainsFunc(vars, func(x corev1.EnvVar) bool { return x.Name == v.Name }) {
			vars = append(vars, v)
		}
	}
	slices.SortFunc(vars, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return vars
}

// scope is one container to be made: a service's, a job's or a pre_start
// hook's.
type scope struct {
	unit  *unit
	path  string // services.web, services.web.pre_start[0]
	spec  *types.ContainerSpec
	image string
	facts *ImageFacts
}

// mainScope is the container of the unit itself.
func (u *unit) mainScope() scope {
	return scope{unit: u, path: u.path, spec: &u.svc.ContainerSpec, image: u.image, facts: u.facts}
}
