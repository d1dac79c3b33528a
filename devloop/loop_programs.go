package devloop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// ProgramEnded is a program under berth's supervisor that has ended by itself.
// Its container stays, and waits for the next change.
type ProgramEnded struct {
	Pod     string
	Program model.Program
}

// Error says how it ended, with its last words.
func (e *ProgramEnded) Error() string {
	text := fmt.Sprintf("the program in pod %q ended with exit status %d", e.Pod, e.Program.Status)
	if e.Program.Failure != "" {
		text = fmt.Sprintf("the program in pod %q cannot be started: %s", e.Pod, e.Program.Failure)
	}
	if len(e.Program.Log) > 0 {
		text += "\n  its last log lines:\n    " + strings.Join(e.Program.Log, "\n    ")
	}
	return text
}

// programEnded reports whether err is that a program has ended.
func programEnded(err error) bool { return errors.As(err, new(*ProgramEnded)) }

// programState is news of the program of one container.
type programState struct {
	service string
	pod     model.PodState
	program model.Program
	steady  bool // it has run for a while
}

// steadyAfter is how long a program that crashed must run before it counts as
// recovered.
const steadyAfter = 3 * time.Second

// watchPrograms has the programs of supervised containers watched, of each
// container that is there, and of no other.
func (l *loop) watchPrograms(ctx context.Context, alive map[string]bool) {
	maps.DeleteFunc(l.starts, func(id string, _ int) bool { return !alive[id] })
	for id, stop := range l.attended {
		if !alive[id] {
			stop()
			delete(l.attended, id)
			delete(l.crashed, id)
		}
	}
	for name, state := range l.have.Services {
		if !l.supervised(name) {
			continue
		}
		for _, pod := range running(state) {
			if l.attended[pod.ContainerID] == nil {
				watching, stop := context.WithCancel(ctx)
				l.attended[pod.ContainerID] = stop
				l.workers.group.Go(func() { l.watchProgram(watching, name, pod) })
			}
		}
	}
}

// supervised reports whether the program of a service runs under berth's
// supervisor, as far as is known.
func (l *loop) supervised(service string) bool {
	if !l.means(service).rerun || !l.want.Select[service] {
		return false
	}
	develop := l.want.Input.Project.Services[service].Develop
	if develop == nil {
		return false
	}
	for _, rule := range develop.Watch {
		if rule.Action == actionRestart || rule.Action == actionSyncRestart {
			return true
		}
	}
	return false
}

// watchProgram passes on every start and end of a container's program until
// ctx ends or there is no supervisor to ask.
func (l *loop) watchProgram(ctx context.Context, service string, pod model.PodState) {
	var known model.Program
	tell := func(steady bool) {
		select {
		case l.programs <- programState{service: service, pod: pod, program: known, steady: steady}:
		case <-ctx.Done():
		}
	}
	ended := false
	for ctx.Err() == nil {
		asking, stop := ctx, context.CancelFunc(func() {})
		if ended && known.Running {
			asking, stop = context.WithTimeout(ctx, steadyAfter)
		}
		now, err := l.e.deps.Syncer.AwaitProgram(asking, pod, known)
		waited := asking.Err() != nil && ctx.Err() == nil
		stop()
		switch {
		case err == nil:
			known = now
			ended = ended || !known.Running
			tell(false)
		case waited:
			ended = false
			tell(true)
		case errors.Is(err, ErrNoSupervisor):
			return
		default: // the node or its agent is away, or the container
			timer := l.e.deps.Clock.NewTimer(followAgain)
			select {
			case <-ctx.Done():
			case <-timer.C():
			}
			timer.Stop()
		}
	}
}

// program takes news of a container's program.
func (l *loop) program(p programState) {
	id := p.pod.ContainerID
	s := l.services[p.service]
	if l.attended[id] == nil || s == nil || p.program.Starts < l.starts[id] {
		return // it is gone, or this was before it was started again
	}
	if !p.program.Running && p.program.Starts > 0 && (p.program.Status != 0 || p.program.Failure != "") {
		l.crashed[id] = p
		return // attend reports it when nothing is done about the service
	}
	delete(l.crashed, id)
	if p.steady && s.ended && s.failed != nil && s.pending == nil && !l.anyCrashed(p.service) {
		l.recover(p.service, s)
	}
}

// takeStarts takes over how often programs have been started, and forgets what
// was said of them before: it may come long after they have been started again.
func (l *loop) takeStarts(t *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, starts := range t.starts {
		l.starts[id] = starts
		if l.crashed[id].program.Starts < starts {
			delete(l.crashed, id)
		}
	}
}

func (l *loop) anyCrashed(service string) bool {
	for _, p := range l.crashed {
		if p.service == service {
			return true
		}
	}
	return false
}

// reportEnd says that a program has ended after its change was served.
func (l *loop) reportEnd(service string, s *serviceState) {
	if s.failed != nil || s.pending != nil {
		return
	}
	for _, id := range sortedKeys(l.crashed) {
		p := l.crashed[id]
		if p.service != service {
			continue
		}
		s.failed, s.ended = &ProgramEnded{Pod: p.pod.Name, Program: p.program}, true
		l.send(Event{Kind: EventFailed, Service: service, Seq: l.seq, Action: "run", Error: s.failed, Why: "the container waits for the next change"})
		return
	}
}
