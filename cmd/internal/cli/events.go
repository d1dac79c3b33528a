package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

type eventsOptions struct {
	follow bool
	since  string
	until  string
	format string
	json   bool
}

func newEventsCommand(app *App) *cobra.Command {
	var opts eventsOptions
	cmd := &cobra.Command{
		Use:   "events [SERVICE...]",
		Short: "Print what the cluster reports about the services, and go on until Ctrl-C",
		Long: `Print what the cluster reports about the services: pods scheduled, images pulled,
probes failed. A cluster remembers about an hour.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			since, err := parseTime("--since", opts.since, now)
			if err != nil {
				return err
			}
			until, err := parseTime("--until", opts.until, now)
			if err != nil {
				return err
			}
			r, err := app.running(cmd.Context(), args)
			if err != nil {
				return err
			}
			app.settle()
			p := &eventPrinter{app: app, running: r, services: args, since: since, until: until, json: opts.json || opts.format == "json"}
			return p.run(cmd.Context(), opts.follow && (until.IsZero() || until.After(now)))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.follow, "follow", "f", true, "go on with what happens from now on")
	flags.StringVar(&opts.since, "since", "", "only events since a `time` or for a while (10m)")
	flags.StringVar(&opts.until, "until", "", "only events before a `time` or a while ago")
	flags.BoolVar(&opts.json, "json", false, "one JSON object a line, as --format json")
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// An eventPrinter prints the events of the chosen services.
type eventPrinter struct {
	app          *App
	running      *running
	services     []string
	since, until time.Time
	json         bool
}

// run prints what there is, by time, and then what comes.
func (p *eventPrinter) run(ctx context.Context, follow bool) error {
	if !p.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.until)
		defer cancel()
	}
	client, namespace := p.running.kube, p.running.Namespace()
	if !follow {
		events, err := kube.List[corev1.Event](ctx, client, namespace, "")
		if err != nil {
			return err
		}
		list := make([]*corev1.Event, len(events))
		for i := range events {
			list[i] = &events[i]
		}
		return p.printAll(list)
	}
	var backlog []*corev1.Event
	synced := false
	var failed error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := kube.Watch(ctx, client, namespace, "", func(c kube.Change[*corev1.Event]) {
		var err error
		switch {
		case c.Synced && !synced:
			synced = true
			err = p.printAll(backlog)
		case c.Object == nil || c.Deleted:
		case !synced:
			backlog = append(backlog, c.Object)
		default:
			err = p.print(c.Object)
		}
		if err != nil {
			failed = err
			stop()
		}
	})
	if failed != nil || !errors.Is(err, ctx.Err()) {
		return cmp.Or(failed, err)
	}
	return nil // Ctrl-C or --until is how it ends
}

func (p *eventPrinter) printAll(events []*corev1.Event) error {
	slices.SortStableFunc(events, func(a, b *corev1.Event) int { return kube.EventTime(a).Compare(kube.EventTime(b)) })
	for _, e := range events {
		if err := p.print(e); err != nil {
			return err
		}
	}
	return nil
}

// eventJSON is one line of `events --format json`.
type eventJSON struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Type    string    `json:"type"` // Normal or Warning
	Object  string    `json:"object"`
	Action  string    `json:"action"`
	Message string    `json:"message"`
	Count   int32     `json:"count"`
}

func (p *eventPrinter) print(e *corev1.Event) error {
	at := kube.EventTime(e)
	service := p.serviceOf(e.InvolvedObject.Name)
	switch {
	case !p.since.IsZero() && at.Before(p.since), !p.until.IsZero() && at.After(p.until):
		return nil
	case len(p.services) > 0 && !slices.Contains(p.services, service):
		return nil
	}
	line := eventJSON{at, service, e.Type, e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, e.Reason, strings.TrimSpace(e.Message), max(e.Count, 1)}
	if p.json {
		return json.NewEncoder(p.app.Out).Encode(line)
	}
	times := ""
	if line.Count > 1 {
		times = fmt.Sprintf(" (%d times)", line.Count)
	}
	_, err := fmt.Fprintf(p.app.Out, "%s %-7s %s %s: %s%s\n", at.Local().Format("2006-01-02 15:04:05"), line.Type, line.Object, line.Action, line.Message, times)
	return err
}

// serviceOf is the service that an object's name belongs to: that of the
// workload whose name it begins with, the longest when several do.
func (p *eventPrinter) serviceOf(object string) string {
	best := model.ServiceState{}
	for _, s := range p.running.states {
		if (object == s.Name || strings.HasPrefix(object, s.Name+"-")) && len(s.Name) > len(best.Name) {
			best = s
		}
	}
	return best.Service
}
