package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

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
	facts := in.Images[imageOf(in, s)]
	if facts.Ref == "" {
		return in, nil // the image is not known yet: nothing is started from this translation
	}
	chosen, err := d.attach(&s, facts)
	if err != nil {
		return in, problem.New(fmt.Sprintf("debug service %q", name), err, debugCure)
	}
	d.choose(chosen)
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

// debugCure is what helps where berth cannot tell which program to debug.
const debugCure = "give the service a `command` that is a list and begins with the program, for example [\"python3\", \"app.py\"]; a compose.override.yaml may hold it"

// attach chooses the debugger of a service and has its program started under it.
func (d *debugging) attach(s *types.ServiceConfig, facts translate.ImageFacts) (debugger, error) {
	entrypoint, arguments := []string(s.Entrypoint), []string(s.Command)
	if s.Entrypoint == nil {
		entrypoint = facts.Entrypoint
		if s.Command == nil {
			arguments = facts.Cmd
		}
	}
	command := slices.Concat(entrypoint, arguments)
	chosen := debuggerOf(command, facts.Env)
	under, env, err := chosen.start(command)
	if err != nil {
		return chosen, err
	}
	if !slices.Equal(under, command) {
		s.Entrypoint, s.Command = under, nil
	}
	s.Environment = maps.Clone(s.Environment)
	if s.Environment == nil {
		s.Environment = types.MappingWithEquals{}
	}
	for key, value := range env {
		if own := cmp.Or(s.Environment[key], variable(facts.Env, key)); own != nil {
			value = *own + " " + value
		}
		s.Environment[key] = &value
	}
	return chosen, nil
}

// variable is the value of a variable of an image, nil when it has none.
func variable(env []string, key string) *string {
	for _, v := range env {
		if value, found := strings.CutPrefix(v, key+"="); found {
			return &value
		}
	}
	return nil
}

// choose notes the debugger that a translation chose.
func (d *debugging) choose(chosen debugger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.debugger = chosen
	select {
	case <-d.known:
	default:
		close(d.known)
	}
}

// missing says what the image lacks for its debugger, judged by why its program
// ended, "" when that is not why.
func (d *debugging) missing(err error) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.debugger.lacking == nil || !d.debugger.lacking.MatchString(err.Error()) {
		return ""
	}
	return fmt.Sprintf("%s needs %s in the image: %s", d.debugger.name, d.debugger.needs, d.debugger.cure)
}

// imageOf is the name under which the image of a service is known.
func imageOf(in translate.Input, s types.ServiceConfig) string {
	return cmp.Or(s.Image, in.Project.Name+"-"+s.Name)
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
		needs = "; its image must have " + d.needs
	}
	v.sayDebug(service, fmt.Sprintf("%s leads to %s; connect %s%s", listener.Addr(), d.name, d.attach, needs))
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
