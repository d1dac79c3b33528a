package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/model"
)

// Names of pod states, those of Docker where it has one.
const (
	stateRunning    = "running"
	stateRestarting = "restarting"
	stateExited     = "exited"
	stateStarting   = "starting"
	stateRemoving   = "removing"
	stateStopped    = "stopped"
	stateCreated    = "created"
)

type psOptions struct {
	all      bool
	quiet    bool
	services bool
	status   []string
	filters  []string
	format   string
}

func newPsCommand(app *App) *cobra.Command {
	var opts psOptions
	cmd := &cobra.Command{
		Use:               "ps [SERVICE...]",
		Short:             "List the pods of the services: state, health, restarts, node, ports, image",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, filter := range opts.filters {
				state, isStatus := strings.CutPrefix(filter, "status=")
				if !isStatus {
					return misuse(fmt.Sprintf("--filter %q", filter), nil, "write --filter status=STATE")
				}
				opts.status = append(opts.status, state)
			}
			for _, state := range opts.status {
				if !slices.Contains(podStates(), state) {
					return misuse(fmt.Sprintf("--status %q", state), nil, "choose one of "+strings.Join(podStates(), ", "))
				}
			}
			r, err := app.running(cmd.Context(), args)
			if err != nil {
				return err
			}
			ports, err := app.publishedPorts(cmd.Context(), r.name)
			if err != nil {
				return err
			}
			app.settle()
			return opts.print(app.Out, psRows(r.name, r.chosen(args), ports, time.Now()))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.all, "all", "a", false, "show services that have ended or are stopped too")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "print the names of the pods alone")
	flags.BoolVar(&opts.services, "services", false, "print the names of the services alone")
	flags.StringArrayVar(&opts.status, "status", nil, "only pods in this `state`: "+strings.Join(podStates(), ", "))
	flags.StringArrayVar(&opts.filters, "filter", nil, "the same, as `status=STATE`")
	addAlwaysFlag(flags, "orphans", "show services that the compose file no longer has, too; always so")
	addAlwaysFlag(flags, "no-trunc", "print whole names; always so")
	addFormatFlag(cmd, &opts.format)
	return cmd
}

func podStates() []string {
	return []string{stateRunning, stateRestarting, stateStarting, stateRemoving, stateExited, stateStopped, stateCreated}
}

// psRow is one line of ps; the JSON names are those of docker compose where it
// has them.
type psRow struct {
	Name       string
	Service    string
	Project    string
	State      string
	Health     string
	Reason     string `json:",omitempty"`
	ExitCode   int32
	Restarts   int32
	Node       string
	Image      string
	CreatedAt  string
	Publishers []psPort
	status     string // for people
}

type psPort struct {
	URL           string
	TargetPort    int
	PublishedPort int
	Protocol      string
}

// publishedPorts are the host ports of a project, from its gateway.
func (app *App) publishedPorts(ctx context.Context, project string) ([]model.PublishedPort, error) {
	if !app.owned() {
		return nil, nil // published ports belong to kind clusters
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return nil, err
	}
	gateways, err := gateway.New(engine).List(ctx, app.clusterName())
	if err != nil {
		return nil, err
	}
	for _, g := range gateways {
		if g.Project == project && g.Running {
			return g.Ports, nil
		}
	}
	return nil, nil
}

// psRows makes a row for every pod, and one for a service without pods.
func psRows(project string, services []model.ServiceState, ports []model.PublishedPort, now time.Time) []psRow {
	var rows []psRow
	for _, s := range services {
		published := []psPort{}
		for _, p := range ports {
			if p.Service == s.Service {
				published = append(published, psPort{cmp.Or(p.HostIP, "127.0.0.1"), p.Target, p.HostPort, cmp.Or(p.Protocol, "tcp")})
			}
		}
		for _, p := range s.Pods {
			row := psRow{Name: p.Name, Service: s.Service, Project: project, State: stateOf(p), Health: p.Health, Restarts: p.Restarts,
				Reason: p.Reason, Node: p.Node, Image: p.Image, CreatedAt: p.Created.UTC().Format(time.RFC3339), Publishers: published}
			if p.ExitCode != nil {
				row.ExitCode = *p.ExitCode
			}
			row.status = statusOf(p, now)
			rows = append(rows, row)
		}
		if len(s.Pods) == 0 {
			row := psRow{Name: s.Name, Service: s.Service, Project: project, State: stateStopped, status: "Stopped", Publishers: published}
			switch {
			case s.Created:
				row.State, row.status = stateCreated, "Created"
			case s.Complete:
				row.State, row.status = stateExited, "Exited (0)"
			case s.Desired > 0:
				row.State, row.status = stateStarting, "Starting: no pod yet"
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// stateOf is a pod's state in Docker's words.
func stateOf(p model.PodState) string {
	switch {
	case p.Phase == "Terminating":
		return stateRemoving
	case p.Phase == "Succeeded" || p.Phase == "Failed":
		return stateExited
	case p.Reason == "CrashLoopBackOff":
		return stateRestarting
	case p.Phase == "Running" && p.Reason == "":
		return stateRunning
	}
	return stateStarting
}

// statusOf describes a pod's state as `docker ps` does.
func statusOf(p model.PodState, now time.Time) string {
	code := ""
	if p.ExitCode != nil {
		code = fmt.Sprintf(" (%d)", *p.ExitCode)
	}
	switch stateOf(p) {
	case stateRemoving:
		return "Removing"
	case stateExited:
		return "Exited" + code + ago(p.Since, now)
	case stateRestarting:
		return "Restarting" + code + ago(p.Since, now)
	case stateRunning:
		text := "Up"
		if !p.Since.IsZero() {
			text += " " + age(now.Sub(p.Since))
		}
		if p.Health != "" {
			text += " (" + p.Health + ")"
		}
		return text
	}
	if p.Reason != "" {
		return "Starting: " + p.Reason
	}
	return "Starting"
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " " + age(now.Sub(t)) + " ago"
}

// age is a duration in the largest unit that fits, as Docker prints it.
func age(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / u.unit); n == 1 {
			return "1 " + u.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	if n := int(max(d, 0) / time.Second); n != 1 {
		return fmt.Sprintf("%d seconds", n)
	}
	return "1 second"
}

// print writes the rows that the options let through.
func (o psOptions) print(w io.Writer, rows []psRow) error {
	rows = slices.DeleteFunc(rows, func(r psRow) bool {
		if len(o.status) > 0 {
			return !slices.Contains(o.status, r.State)
		}
		return !o.all && (r.State == stateExited || r.State == stateStopped || r.State == stateCreated)
	})
	switch {
	case o.services:
		return printColumn(w, rows, func(r psRow) string { return r.Service })
	case o.quiet:
		return printColumn(w, rows, func(r psRow) string { return r.Name })
	case o.format == "json":
		encoder := json.NewEncoder(w) // one object a line, as docker compose
		for _, r := range rows {
			if err := encoder.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSERVICE\tSTATUS\tRESTARTS\tNODE\tPORTS\tIMAGE")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Name, r.Service, r.status, r.Restarts, r.Node, portsText(r.Publishers), r.Image)
	}
	return table.Flush()
}

// printColumn prints the distinct values of one column.
func printColumn(w io.Writer, rows []psRow, value func(psRow) string) error {
	var values []string
	for _, r := range rows {
		values = append(values, value(r))
	}
	for _, v := range slices.Compact(values) {
		if _, err := fmt.Fprintln(w, v); err != nil {
			return err
		}
	}
	return nil
}

func portsText(ports []psPort) string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.URL, strconv.Itoa(p.PublishedPort)), p.TargetPort, p.Protocol))
	}
	return strings.Join(list, ", ")
}
