package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/translate"
)

// A debugger is how programs of one language are debugged from outside their
// container.
type debugger struct {
	name    string // of what listens on port
	port    int
	attach  string            // what the user connects
	env     map[string]string // makes the program listen
	command func(program []string) []string
	needs   string // what the image must have; "" for nothing
}

// debuggers are tried in order: by the program's name, then by what the image
// says of itself.
func debuggers() []debugger {
	return []debugger{
		{
			name: "JDWP", port: 5005, attach: "a Java debugger",
			env: map[string]string{"JAVA_TOOL_OPTIONS": "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005"},
		},
		{
			name: "the Node inspector", port: 9229, attach: "chrome://inspect or an editor",
			env: map[string]string{"NODE_OPTIONS": "--inspect=0.0.0.0:9229"},
		},
		{
			name: "debugpy", port: 5678, attach: "an editor (debug adapter protocol)", needs: "the Python package debugpy",
			command: func(program []string) []string {
				listen := []string{"-m", "debugpy", "--listen", "0.0.0.0:5678"}
				if isPython(program[0]) {
					return slices.Concat(program[:1], listen, program[1:])
				}
				return slices.Concat([]string{"python3"}, listen, []string{"-m"}, program)
			},
		},
		{
			name: "Delve", port: 2345, attach: "dlv connect", needs: "the program dlv, and a binary with symbols",
			command: func(program []string) []string {
				return slices.Concat([]string{"dlv", "exec", "--headless", "--listen=:2345", "--api-version=2", "--accept-multiclient", "--continue", program[0], "--"}, program[1:])
			},
		},
	}
}

func isPython(program string) bool { return strings.HasPrefix(path.Base(program), "python") }

// debuggerOf chooses by the command line of a service and the environment of
// its image.
func debuggerOf(command, env []string) debugger {
	all := debuggers()
	hints := [][]string{
		{"java", "mvn", "gradle", "catalina.sh", "JAVA_VERSION", "JAVA_HOME"},
		{"node", "npm", "npx", "yarn", "pnpm", "nodemon", "tsx", "NODE_VERSION"},
		{"gunicorn", "uvicorn", "flask", "celery", "hypercorn", "PYTHON_VERSION"},
	}
	for i, names := range hints {
		for _, word := range command {
			if slices.Contains(names, path.Base(word)) || i == 2 && isPython(word) {
				return all[i]
			}
		}
	}
	for i, names := range hints {
		for _, variable := range env {
			if name, _, _ := strings.Cut(variable, "="); slices.Contains(names, name) {
				return all[i]
			}
		}
	}
	return all[len(all)-1]
}

// debugging is one service of a session under its language's debugger.
type debugging struct {
	service string
	known   chan struct{} // closed when the service's image, and so its debugger, is known

	mu       sync.Mutex
	debugger debugger // as the last translation chose it
}

func newDebugging(service string) *debugging {
	return &debugging{service: service, known: make(chan struct{})}
}

// translate is translate.Translate with the service made ready for its debugger.
func (d *debugging) translate(in translate.Input, target translate.Target) (translate.Result, error) {
	in, err := d.prepare(in)
	if err != nil {
		return translate.Result{}, err
	}
	return translate.Translate(in, target)
}

// prepare returns in with the service made ready for a debugger: one replica
// whose program listens for it and whose health nobody checks, because a program
// that stands at a breakpoint does not answer.
func (d *debugging) prepare(in translate.Input) (translate.Input, error) {
	name := d.service
	s, ok := in.Project.Services[name]
	if !ok {
		return in, unknownService(name, in.Project.ServiceNames())
	}
	chosen, command := debuggerFor(in, s)
	d.choose(chosen, in.Images[imageOf(in, s)].Ref != "")
	if chosen.command != nil {
		if len(command) == 0 {
			return in, nil // the image is not known yet: nothing is started from this translation
		}
		s.Entrypoint, s.Command = types.ShellCommand(chosen.command(command)), nil
	}
	s.Environment = maps.Clone(s.Environment)
	if s.Environment == nil {
		s.Environment = types.MappingWithEquals{}
	}
	for key, value := range chosen.env {
		if own := s.Environment[key]; own != nil {
			value = *own + " " + value
		}
		s.Environment[key] = &value
	}
	s.HealthCheck = &types.HealthCheckConfig{Disable: true}
	if s.Deploy != nil {
		deploy := *s.Deploy
		s.Deploy = &deploy
	}
	s.SetScale(1)
	project := *in.Project
	project.Services = maps.Clone(project.Services)
	project.Services[name] = s
	in.Project = &project
	return in, nil
}

// choose notes the debugger that a translation chose; known says whether it saw
// the image.
func (d *debugging) choose(chosen debugger, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.debugger = chosen
	select {
	case <-d.known:
	default:
		if known {
			close(d.known)
		}
	}
}

// imageOf is the name under which the image of a service is known.
func imageOf(in translate.Input, s types.ServiceConfig) string {
	return cmp.Or(s.Image, in.Project.Name+"-"+s.Name)
}

// debuggerFor returns the debugger of a service and the command line that its
// container runs, none when that is up to an image that is not known.
func debuggerFor(in translate.Input, s types.ServiceConfig) (debugger, []string) {
	facts := in.Images[imageOf(in, s)]
	command := []string(s.Entrypoint)
	arguments := []string(s.Command)
	if s.Entrypoint == nil {
		command = facts.Entrypoint
		if s.Command == nil {
			arguments = facts.Cmd
		}
	}
	command = slices.Concat(command, arguments)
	return debuggerOf(command, facts.Env), command
}

// forwardDebugger leads a local port to the debugger of a service, once its
// image says which that is, until ctx ends, over restarts of its pod.
func (v *devView) forwardDebugger(ctx context.Context, s *session) {
	service := s.debug.service
	select {
	case <-s.debug.known:
	case <-ctx.Done():
		return
	}
	s.debug.mu.Lock()
	d := s.debug.debugger
	s.debug.mu.Unlock()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port)))
	if err != nil { // another debugger is at work
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		v.sayDebug(service, err.Error())
		return
	}
	needs := ""
	if d.needs != "" {
		needs = "; the image must have " + d.needs
	}
	v.sayDebug(service, fmt.Sprintf("%s listens at %s; connect %s%s", d.name, listener.Addr(), d.attach, needs))
	r := &running{Project: s.deploy, name: s.input.Project.Name}
	err = s.kube.PortForward(ctx, kube.Forward{
		Listener: listener, Namespace: s.deploy.Namespace(), Port: d.port,
		Pod:  func(ctx context.Context) (string, error) { return readyPod(ctx, r, service) },
		Lost: func(err error) { v.sayDebug(service, err.Error()) },
	})
	if err != nil && ctx.Err() == nil {
		v.sayDebug(service, err.Error())
	}
}
