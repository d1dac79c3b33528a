package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// attachOptions are the flags by which up stays until a container ends.
type attachOptions struct {
	onExit       bool
	onFailure    bool
	exitCodeFrom string
	timeout      int
	noPrefix     bool
	timestamps   bool
	attach       []string // services whose logs are printed; none: of those that the user named
	withDeps     bool     // and of what these depend on
	noAttach     []string // and of these not
	noColor      bool
}

func (o *attachOptions) register(flags *pflag.FlagSet) {
	flags.BoolVar(&o.onExit, "abort-on-container-exit", false, "stay, print the logs, and stop everything as soon as a container ends; its exit status is berth's")
	flags.BoolVar(&o.onFailure, "abort-on-container-failure", false, "the same as soon as a container ends with another status than 0")
	flags.StringVar(&o.exitCodeFrom, "exit-code-from", "", "the exit status of `SERVICE` is berth's; implies --abort-on-container-exit")
	addGrace(flags, &o.timeout, "kill after so many `seconds` when everything is stopped")
	flags.BoolVar(&o.noPrefix, "no-log-prefix", false, "print logs without the services' names")
	flags.StringArrayVar(&o.attach, "attach", nil, "print the logs of `SERVICE` alone; may be repeated")
	flags.BoolVar(&o.withDeps, "attach-dependencies", false, "print the logs of what the named services depend on, too")
	flags.BoolVar(&o.noColor, "no-color", false, "print logs without colours")
	flags.StringArrayVar(&o.noAttach, "no-attach", nil, "leave out the logs of `SERVICE`; may be repeated")
	flags.BoolVar(&o.timestamps, "timestamps", false, "print the time of each line of the logs")
}

// stays reports whether up is to stay.
func (o attachOptions) stays() bool { return o.onExit || o.onFailure || o.exitCodeFrom != "" }

// check refuses combinations that mean nothing.
func (o attachOptions) check(detach bool) error {
	if !o.stays() {
		return nil
	}
	if detach {
		return misuse("up --detach", errors.New("it returns when everything is ready, and the other flags ask it to stay until a container ends"), "leave out --detach")
	}
	if len(o.attach) > 0 && o.withDeps {
		return misuse("up", errors.New("--attach and --attach-dependencies exclude each other"), "leave one of them out")
	}
	if o.onExit && o.onFailure {
		return misuse("up", errors.New("--abort-on-container-exit and --abort-on-container-failure exclude each other"), "leave one of them out")
	}
	return nil
}

// An attachment is an up that stays.
type attachment struct {
	app     *App
	session *session
	running *running
	opts    attachOptions
	since   time.Time
	chosen  []string        // services that it is about: those the user named, with what they depend on
	printed []string        // those of them whose logs are printed
	awaited map[string]bool // services that others wait for to complete: their good end is no reason to stop

	mu    sync.Mutex
	codes map[string]int // of services that have ended, the first time
	first *apply.Exit    // the end that ends everything
}

// upAttached brings the project up, prints its logs until a container ends,
// stops everything and passes an exit status on. An interrupt stops everything
// too.
func (app *App) upAttached(ctx context.Context, s *session, up devloop.UpOptions, opts attachOptions) error {
	chosen, err := chosenServices(s.input.Project, up.Services, !up.NoDeps)
	if err != nil {
		return err
	}
	a := &attachment{
		app: app, chosen: chosen, printed: opts.printed(s.input.Project, up.Services, chosen), session: s, opts: opts, since: time.Now(), awaited: completers(s.input), codes: map[string]int{},
		running: &running{Project: s.deploy, kube: s.kube, name: s.input.Project.Name, known: s.input.Project.ServiceNames()},
	}
	watching, endWatch := context.WithCancel(context.WithoutCancel(ctx))
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer endWatch()
	ended, upErr := make(chan struct{}), error(nil)
	watcher.Go(func() {
		// It ends when it is told to; until then it survives what can be survived.
		_ = s.deploy.Exits(watching, a.since, func(e apply.Exit) { a.exited(e, ended) })
	})
	upCtx, stopUp := context.WithCancel(ctx)
	defer stopUp()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, upErr = s.engine.Up(upCtx, up)
	}()
	select {
	case <-done:
	case <-ended:
		stopUp()
		<-done
	}
	app.settle()
	if a.exit() == nil && upErr != nil && !a.failed(ctx, ended) {
		return errors.Join(image.WithMissing(upErr), a.stop(ctx))
	}
	if err := a.follow(ctx, ended); err != nil {
		return err
	}
	return a.status(ctx)
}

// completers are the services that others wait for to complete.
func completers(in translate.Input) map[string]bool {
	names := map[string]bool{}
	for _, s := range in.Project.Services {
		for name, d := range s.DependsOn {
			if d.Condition == "service_completed_successfully" {
				names[name] = true
			}
		}
	}
	return names
}

// exited notes the end of a container.
func (a *attachment) exited(e apply.Exit, ended chan struct{}) {
	if !slices.Contains(a.chosen, e.Service) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.codes[e.Service]; !known { // the cluster may run it again before everything is stopped
		a.codes[e.Service] = e.Code
	}
	over := !e.Asked && (!a.opts.onFailure || e.Code != 0) && (e.Code != 0 || !a.awaited[e.Service])
	if over && a.first == nil {
		a.first = &e
		close(ended)
	}
}

func (a *attachment) exit() *apply.Exit {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}

// failed waits a moment for the end of a container, which may be why up
// failed: the two learn of it separately.
func (a *attachment) failed(ctx context.Context, ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
	}
	return false
}

// printed chooses the services whose logs are printed, of those that up is
// about: those that --attach names, else those that the user named and that do
// not say `attach: false`.
func (o attachOptions) printed(p *types.Project, named, chosen []string) []string {
	return slices.DeleteFunc(slices.Clone(chosen), func(service string) bool {
		if slices.Contains(o.noAttach, service) {
			return true
		}
		if len(o.attach) > 0 {
			return !slices.Contains(o.attach, service)
		}
		attach := p.Services[service].Attach
		return attach != nil && !*attach || len(named) > 0 && !o.withDeps && !slices.Contains(named, service)
	})
}

// prints reports whether the logs of a service are wanted.
func (a *attachment) prints(service string) bool { return slices.Contains(a.printed, service) }

// stopFor is how long stopping everything may take: grace periods one after the
// other. A second interrupt ends berth at once.
const stopFor = 15 * time.Minute

// stop ends all pods of the services.
func (a *attachment) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
	defer cancel()
	states, err := a.running.Observe(ctx)
	if err != nil {
		return err
	}
	if e := a.exit(); e != nil {
		progress.Say(a.app.sink(), progress.Note, e.Service, fmt.Sprintf("pod %s ended with status %d: stopping everything", e.Pod, e.Code))
	}
	err = a.running.StopServices(ctx, states, a.chosen, a.opts.timeout)
	a.app.settle()
	return err
}

// status is berth's own end: that of the chosen service, else that of the
// container whose end ended everything.
func (a *attachment) status(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	code := 0
	if a.first != nil {
		code = a.first.Code
	}
	if name := a.opts.exitCodeFrom; name != "" {
		status, known := a.codes[name]
		if !known {
			return problem.New(fmt.Sprintf("--exit-code-from %q", name), errors.New("it had not ended, and left no exit status when it was stopped"), "")
		}
		code = status
	}
	if code != 0 {
		return exitError{code}
	}
	return nil
}
