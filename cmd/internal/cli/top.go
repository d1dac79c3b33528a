package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

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
			calls.Go(func() { l.text, l.err = processes(ctx, r, p) })
		}
	}
	calls.Wait()
	var errs []error
	for _, l := range all {
		if l.err != nil {
			errs = append(errs, problem.New(fmt.Sprintf("list the processes of pod %q", l.pod), l.err, "the image needs ps or sh for this"))
			continue
		}
		fmt.Fprintf(app.Out, "%s (%s)\n%s\n", l.service, l.pod, strings.TrimRight(l.text, "\n"))
	}
	return errors.Join(errs...)
}

// processes lists a container's processes with ps, else with its shell.
func processes(ctx context.Context, r *running, p model.PodState) (string, error) {
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
