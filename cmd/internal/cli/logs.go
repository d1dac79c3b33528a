package cli

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

type logsOptions struct {
	follow     bool
	since      string
	until      string
	tail       string
	timestamps bool
	noColor    bool
	noPrefix   bool
	index      int
}

func newLogsCommand(app *App) *cobra.Command {
	var opts logsOptions
	cmd := &cobra.Command{
		Use:               "logs [SERVICE...]",
		Short:             "Print what the services wrote; -f goes on, through restarts and new pods",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := opts.complete(time.Now())
			if err != nil {
				return err
			}
			if err := checkIndex(opts.index); err != nil {
				return err
			}
			if opts.index > 0 && len(args) != 1 {
				return misuse("--index", nil, "name the one service whose pod is meant")
			}
			r, err := app.running(cmd.Context(), args)
			if err != nil {
				return err
			}
			if opts.index > 0 {
				if _, err := r.pod(args[0], opts.index); err != nil {
					return err
				}
			}
			app.settle()
			return app.tail(cmd.Context(), r, args, options, opts)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.follow, "follow", "f", false, "go on with what is written from now on")
	flags.StringVar(&opts.since, "since", "", "only lines since a `time` (2026-01-02T13:23:37Z) or for a while (42m)")
	flags.StringVar(&opts.until, "until", "", "only lines before a `time` or a while ago")
	flags.StringVarP(&opts.tail, "tail", "n", "all", "only the last `lines` of each pod")
	flags.BoolVarP(&opts.timestamps, "timestamps", "t", false, "print the time of each line")
	flags.BoolVar(&opts.noColor, "no-color", false, "print without colours")
	flags.BoolVar(&opts.noPrefix, "no-log-prefix", false, "print without the services' names")
	flags.IntVar(&opts.index, "index", 0, "only the `n`-th pod of the service")
	return cmd
}

// complete reads the options' values.
func (o logsOptions) complete(now time.Time) (kube.LogOptions, error) {
	options := kube.LogOptions{Follow: o.follow, Tail: -1, Earlier: true}
	if o.tail != "all" {
		n, err := strconv.Atoi(o.tail)
		if err != nil {
			return options, misuse(fmt.Sprintf("--tail %q", o.tail), nil, `give a number of lines, or "all"`)
		}
		options.Tail = n
	}
	var err error
	if options.Since, err = parseTime("--since", o.since, now); err != nil {
		return options, err
	}
	options.Until, err = parseTime("--until", o.until, now)
	return options, err
}

// parseTime reads a time, or how long ago it was; "" is the zero time.
func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Unix(0, int64(seconds*float64(time.Second))), nil
	}
	return time.Time{}, misuse(fmt.Sprintf("%s %q", flag, s), nil, "give a time such as 2026-01-02T13:23:37Z or a duration such as 10m")
}

// tail prints the logs of the chosen services until they end or, while
// following, ctx ends.
func (app *App) tail(ctx context.Context, r *running, services []string, options kube.LogOptions, o logsOptions) error {
	printer := app.newLogPrinter(r, services, o)
	defer printer.flush()
	only := ""
	if o.index > 0 {
		pod, err := r.pod(services[0], o.index)
		if err != nil {
			return err
		}
		only = pod.Name
	}
	tail := kube.TailOptions{LogOptions: options, Selector: model.LabelService + "," + apply.LabelOneOff + "!=True"}
	tail.Want = func(pod *corev1.Pod, container string) bool {
		if only != "" && pod.Name != only {
			return false
		}
		return len(services) == 0 || slices.Contains(services, apply.ServiceOf(pod, container))
	}
	if only == "" {
		if err := printer.kept(ctx, r, r.chosen(services), options); err != nil {
			return err
		}
	}
	err := r.kube.Tail(ctx, r.Namespace(), tail, printer.line)
	if options.Follow && ctx.Err() != nil {
		return nil // the way to end it
	}
	return err
}

// A logPrinter writes lines of logs, each behind the name of its service.
type logPrinter struct {
	w          *bufio.Writer
	color      bool
	width      int
	timestamps bool
	prefix     bool
	flushEach  bool
	several    map[string]bool // services of more than one pod
}

func (app *App) newLogPrinter(r *running, services []string, o logsOptions) *logPrinter {
	p := &logPrinter{
		w: bufio.NewWriterSize(app.Out, 64<<10), color: app.outColor() && !o.noColor, timestamps: o.timestamps,
		prefix: !o.noPrefix, flushEach: o.follow, several: map[string]bool{},
	}
	for _, s := range r.chosen(services) {
		p.several[s.Service] = s.Desired > 1 || len(s.Pods) > 1 && !o.follow
		width := len(s.Service)
		if p.several[s.Service] {
			width += len("-abcde")
		}
		p.width = max(p.width, width)
	}
	return p
}

func (p *logPrinter) line(pod *corev1.Pod, l kube.LogLine) {
	p.print(apply.KeptLine{Service: apply.ServiceOf(pod, l.Container), Pod: pod.Name, Time: l.Time, Text: l.Text})
}

// kept prints what those of the services wrote that have finished, and whose
// pods are gone.
func (p *logPrinter) kept(ctx context.Context, r *running, services []model.ServiceState, o kube.LogOptions) error {
	gone := map[string]bool{}
	for _, s := range services {
		if s.Complete && len(s.Pods) == 0 {
			gone[s.Service] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	lines, err := r.KeptLogs(ctx, o)
	for _, l := range lines {
		if gone[l.Service] {
			p.print(l)
		}
	}
	return err
}

func (p *logPrinter) print(l apply.KeptLine) {
	if p.prefix {
		name := l.Service
		if p.several[name] {
			name += l.Pod[max(strings.LastIndexByte(l.Pod, '-'), 0):]
		}
		p.width = max(p.width, len(name))
		_, _ = p.w.WriteString(ui.Prefix(p.color, name, p.width)) // a bufio.Writer keeps its first error for Flush
	}
	if p.timestamps {
		_, _ = p.w.WriteString(l.Time.UTC().Format(time.RFC3339Nano) + " ")
	}
	_, _ = p.w.WriteString(l.Text)
	_ = p.w.WriteByte('\n')
	if p.flushEach {
		p.flush()
	}
}

func (p *logPrinter) flush() { _ = p.w.Flush() } // nobody reads any more: nothing is left to tell

// outColor reports whether standard output may be coloured.
func (app *App) outColor() bool {
	return app.Getenv("NO_COLOR") == "" && app.Getenv("TERM") != "dumb" && isTerminal(app.Out)
}
