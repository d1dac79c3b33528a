package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

type devOptions struct {
	upOptions
	onceOptions
	noLogs bool
	debug  string
	agent  bool
}

func newDevCommand(app *App) *cobra.Command {
	var opts devOptions
	cmd := &cobra.Command{
		Use:     "dev [SERVICE...]",
		Aliases: []string{"watch"},
		Short:   "Start the services, then rebuild and restart them as you save",
		Long: `Do what up does, then watch: the files of develop.watch rules, the build contexts
of services without such rules, and the compose file itself. Every change is
brought to all replicas; the logs of the services follow. On a terminal the keys
r (rebuild), s (restart), l (whose logs), o (open) and q (quit) work.

With --once it ends when everything serves, as CI wants it:
  berth dev --once --exec 'go test ./e2e' --down`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = opts.withDebugged(args)
			up, err := opts.complete(args)
			if err != nil {
				return err
			}
			if err := opts.check(); err != nil {
				return err
			}
			if opts.agent && app.owned() {
				return misuse("--agent", errors.New("the nodes of berth's own clusters have it always"), "leave it out, or name another cluster with --context")
			}
			return app.dev(cmd.Context(), args, up, opts)
		},
	}
	opts.upOptions.register(cmd)
	cmd.Flags().BoolVar(&opts.noLogs, "no-logs", false, "do not follow the logs of the services")
	cmd.Flags().StringVar(&opts.debug, "debug", "", "start the program of `service` under its language's debugger (JVM, Node, Python, Go) and forward the debugger's port")
	_ = cmd.RegisterFlagCompletionFunc("debug", app.completeServices) // fails only for a flag that is not there
	cmd.Flags().BoolVar(&opts.agent, "agent", false, "on a cluster of --context: while dev runs, sync with berth's agent, a privileged DaemonSet, for images without shell or tar")
	opts.onceOptions.register(cmd)
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// withDebugged adds the service to debug to those that are named, if any are:
// none are all.
func (o devOptions) withDebugged(services []string) []string {
	if o.debug == "" || len(services) == 0 || slices.Contains(services, o.debug) {
		return services
	}
	return append(slices.Clone(services), o.debug)
}

// named lists the services that flags name.
func (o devOptions) named(up devloop.UpOptions) []string {
	names := slices.Collect(maps.Keys(up.Scale))
	if o.debug != "" {
		names = append(names, o.debug)
	}
	return names
}

// dev runs the loop until the user ends it.
func (app *App) dev(ctx context.Context, services []string, up devloop.UpOptions, opts devOptions) error {
	outer, begun := ctx, time.Now()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	view := app.newDevView(opts)
	view.once = opts.once
	defer view.close()
	s, err := app.newSession(ctx, services, sessionOptions{events: view.loopEvent, debug: opts.debug, agent: opts.agent, named: opts.named(up)})
	if err != nil {
		return err
	}
	defer s.close()
	defer app.removeAgent(outer, s)
	view.quiet, view.debug = quietOf(s.input.Project, services), s.debug
	if view.events != nil { // a reader of events hears what the terminal has been told
		for _, w := range s.source.Warnings {
			view.event(devloop.Event{Time: time.Now(), Kind: devloop.EventWarn, Why: w.String()})
		}
	}
	commands := make(chan devloop.Command)
	var logs sync.WaitGroup
	defer logs.Wait()
	logs.Go(func() { view.pruneBuilds(ctx, s) })
	err = s.engine.Dev(ctx, devloop.DevOptions{
		Up: up, Once: opts.once, Commands: commands, OnRead: view.name, OnUp: view.serving, OnRest: view.builds.rest,
		Started: func() {
			if opts.once {
				return
			}
			view.started()
			view.readKeys(ctx, commands, quit)
			if s.debug != nil {
				logs.Go(func() { view.forwardDebugger(ctx, s) })
			}
			if !opts.noLogs {
				logs.Go(func() { view.followLogs(ctx, s, begun) })
			}
		},
	})
	quit()
	if errors.Is(err, context.Canceled) && view.quit.Load() {
		return nil // the user pressed q
	}
	return opts.after(outer, app, s.input.Project.Name, err)
}

// event shows one event of the loop.
func (v *devView) event(e devloop.Event) {
	if e.Kind == devloop.EventServing && e.Action == "rebuild" {
		v.builds.add()
	}
	if v.events != nil {
		_ = v.events.Encode(e) // standard output is gone when this fails, and so is its reader
		return
	}
	if v.once && e.Kind == devloop.EventFailed {
		return // the command ends with the error
	}
	if line := ui.EventLine(v.console.Color(), e, v.nameWidth()); line != "" {
		v.console.Line(line)
	}
	v.note(e)
}

// loopEvent shows an event that the loop sends, and what it means for the
// debugger.
func (v *devView) loopEvent(e devloop.Event) {
	v.event(e)
	if v.debug == nil || e.Kind != devloop.EventFailed || e.Service != v.debug.service {
		return
	}
	if text := v.debug.missing(e.Error); text != "" {
		v.sayDebug(e.Service, text)
	}
}

// quietOf tells the services whose logs are shown only when the user asks for
// them, as docker compose attaches: those that say `attach: false`, and all but
// the named ones where some are.
func quietOf(p *types.Project, named []string) func(service string) bool {
	return func(service string) bool {
		attach := p.Services[service].Attach
		return attach != nil && !*attach || len(named) > 0 && !slices.Contains(named, service)
	}
}

// followLogs passes on the logs of all services, those of new pods included:
// all lines of pods made since dev began, and the last few of others.
func (v *devView) followLogs(ctx context.Context, s *session, begun time.Time) {
	err := s.kube.Tail(ctx, s.deploy.Namespace(), kube.TailOptions{
		LogOptions: kube.LogOptions{Follow: true, Tail: 10, Earlier: true},
		Whole:      begun,
		Selector:   model.LabelProject + "=" + s.input.Project.Name + "," + apply.LabelOneOff + "!=True",
		Want:       func(*corev1.Pod, string) bool { return true },
	}, func(pod *corev1.Pod, line kube.LogLine) {
		v.log(apply.ServiceOf(pod, line.Container), line.Text)
	})
	if err != nil && ctx.Err() == nil {
		v.console.Line("logs: " + err.Error())
	}
}

// sayDebug shows news of the debugger of a service.
func (v *devView) sayDebug(service, text string) {
	if v.events != nil {
		v.event(devloop.Event{Time: time.Now(), Kind: devloop.EventDebug, Service: service, Line: text})
		return
	}
	v.console.Line("debug " + service + ": " + text)
}

// log shows one line of a service's log.
func (v *devView) log(service, text string) {
	if only := v.filter(); only != service && (only != "" || v.quiet != nil && v.quiet(service)) {
		return
	}
	if v.events != nil {
		v.event(devloop.Event{Time: time.Now(), Kind: devloop.EventLog, Service: service, Line: text})
		return
	}
	v.console.Log(ui.Prefix(v.console.Color(), service, v.nameWidth()), text)
}

// lockedEncoder writes one JSON value a line, from several goroutines.
type lockedEncoder struct {
	mu sync.Mutex
	*json.Encoder
}

func newLockedEncoder(w io.Writer) *lockedEncoder { return &lockedEncoder{Encoder: json.NewEncoder(w)} }

func (e *lockedEncoder) Encode(v any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.Encoder.Encode(v)
}
