package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

func newKillCommand(app *App) *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [SERVICE...]",
		Short: "Kill the pods of services, which the cluster replaces, or send a signal",
		Long: `Kill the pods of services at once. The cluster replaces them: that is how to see
it heal. With --signal, send another signal to the main process of every pod (with
--context, that needs a shell or kill in the image).`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.TrimPrefix(strings.ToUpper(signal), "SIG")
			if n, err := strconv.Atoi(name); translate.SignalName(name) == "" && (err != nil || n < 1 || n > 64) {
				return misuse(fmt.Sprintf("--signal %q", signal), nil, "give a signal's name or number: SIGHUP, HUP or 1")
			}
			r, states, err := app.startedServices(cmd.Context(), args)
			if err != nil {
				return err
			}
			return app.each(cmd.Context(), states, "killing", "killed", func(ctx context.Context, s model.ServiceState) error {
				if name == "KILL" || name == "9" {
					return r.EndPods(ctx, s.Service, 0)
				}
				return app.signalPods(ctx, r, s, name)
			})
		},
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "SIGKILL", "`signal` to send")
	return cmd
}

// signalPods sends a signal to the main process of every running pod: through
// the agent of its node, or on a cluster without one through the API server.
func (app *App) signalPods(ctx context.Context, r *running, s model.ServiceState, signal string) error {
	for _, p := range s.Pods {
		if stateOf(p) != stateRunning {
			continue
		}
		what := fmt.Sprintf("send signal %q to pod %q", signal, p.Name)
		if app.owned() {
			err := app.inContainer(ctx, p, func(c container) error { return c.node.Signal(ctx, c.id, signal) })
			if err != nil {
				return problem.New(what, err, "")
			}
			continue
		}
		var output strings.Builder
		if err := signalPod(ctx, r, p, signal, &output); err != nil {
			return problem.New(what, errors.Join(err, errorText(output.String())), "the image needs sh or kill for this; `berth restart` needs neither")
		}
	}
	return nil
}

// signalPod tries the shell's own kill first, then a program of that name.
func signalPod(ctx context.Context, r *running, p model.PodState, signal string, output io.Writer) error {
	run := func(command ...string) error {
		return r.kube.Exec(ctx, r.Namespace(), p.Name, kube.ExecOptions{Container: p.Container, Command: command, Stdout: output, Stderr: output})
	}
	err := run("sh", "-c", "kill -"+signal+" 1")
	var status *kube.ExitError
	if err == nil || errors.As(err, &status) && status.Code != exitNotFound {
		return err
	}
	return run("kill", "-"+signal, "1")
}

// errorText is the output of a program as an error, nil for none.
func errorText(output string) error {
	if output = strings.TrimSpace(output); output == "" {
		return nil
	}
	return errors.New(output)
}
