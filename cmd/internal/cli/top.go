package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

func newTopCommand(app *App) *cobra.Command {
	return &cobra.Command{
		Use:               "top [SERVICE...]",
		Short:             "List the processes of the services' containers",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			app.settle()
			return app.top(cmd.Context(), r, states)
		},
	}
}

// psScript lists processes from /proc with a shell's own commands alone:
// images seldom have ps.
const psScript = `echo "PID	COMMAND"
for d in /proc/[0-9]*; do
	{ read -r name <"$d/comm"; } 2>/dev/null && echo "${d#/proc/}	$name"
done; true`

// top prints the processes of every running pod, by service.
func (app *App) top(ctx context.Context, r *running, states []model.ServiceState) error {
	type listing struct {
		service, pod, text string
		err                error
	}
	var all []*listing
	var calls sync.WaitGroup
	for _, s := range states {
		for _, p := range s.Pods {
			if stateOf(p) != stateRunning {
				continue
			}
			l := &listing{service: s.Service, pod: p.Name}
			all = append(all, l)
			calls.Go(func() { l.text, l.err = app.processes(ctx, r, p) })
		}
	}
	calls.Wait()
	var errs []error
	for _, l := range all {
		if l.err != nil {
			errs = append(errs, problem.New(fmt.Sprintf("list the processes of pod %q", l.pod), l.err, hintIf(!app.owned(), "the image needs ps or sh for this")))
			continue
		}
		fmt.Fprintf(app.Out, "%s (%s)\n%s\n", l.service, l.pod, strings.TrimRight(l.text, "\n"))
	}
	return errors.Join(errs...)
}

// processes lists a container's processes through the agent of its node, on a
// cluster without one with what the image has.
func (app *App) processes(ctx context.Context, r *running, p model.PodState) (text string, err error) {
	if !app.owned() {
		return processesByExec(ctx, r, p)
	}
	err = app.inContainer(ctx, p, func(c container) error {
		list, err := c.node.Processes(ctx, c.id)
		if err != nil {
			return err
		}
		var b strings.Builder
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "UID\tPID\tSTATE\tTIME\tCMD")
		for _, x := range list {
			used := time.Duration(x.CPU * float64(time.Second)).Truncate(time.Second)
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", x.UID, x.PID, x.State, used, x.Command)
		}
		err = w.Flush()
		text = b.String()
		return err
	})
	return text, err
}

// processesByExec lists a container's processes with ps, else with its shell.
func processesByExec(ctx context.Context, r *running, p model.PodState) (string, error) {
	var last error
	for _, command := range [][]string{{"ps", "-ef"}, {"ps"}, {"sh", "-c", psScript}} {
		var out, errOut strings.Builder
		err := r.kube.Exec(ctx, r.Namespace(), p.Name, kube.ExecOptions{Container: p.Container, Command: command, Stdout: &out, Stderr: &errOut})
		if err == nil {
			return out.String(), nil
		}
		last = errors.Join(err, errorText(errOut.String()))
	}
	return "", last
}

func hintIf(applies bool, hint string) string {
	if applies {
		return hint
	}
	return ""
}
