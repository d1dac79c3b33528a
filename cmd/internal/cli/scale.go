package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newScaleCommand(app *App) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "scale SERVICE=N...",
		Short: "Run N pods of a service, until the next up",
		Args:  takes(1, -1, "name at least one service, as SERVICE=N"),

		ValidArgsFunction: app.completeScales,
		RunE: func(cmd *cobra.Command, args []string) error {
			want := map[string]int{}
			var names []string
			for _, arg := range args {
				name, n, err := parseScale(arg)
				if err != nil {
					return err
				}
				if _, again := want[name]; !again {
					names = append(names, name)
				}
				want[name] = n
			}
			r, err := app.running(cmd.Context(), names)
			if err != nil {
				return err
			}
			states, err := r.started(names)
			if err != nil {
				return err
			}
			return withTimeout(cmd.Context(), timeout, func(ctx context.Context) error {
				return app.each(ctx, states, "scaling", "", func(ctx context.Context, s model.ServiceState) error {
					if err := r.Scale(ctx, s.Service, want[s.Service]); err != nil {
						return err
					}
					return r.settled(ctx, s.Service, want[s.Service])
				})
			})
		},
	}
	addWaitTimeout(cmd.Flags(), &timeout, "give up after this `time`; 0: each service has its own limits")
	addAlwaysFlag(cmd.Flags(), "no-deps", "leave what the services depend on alone; always so")
	return cmd
}

// settled waits until a service has just as many pods as it should, and they
// are ready.
func (r *running) settled(ctx context.Context, service string, replicas int) error {
	if replicas > 0 {
		return r.Wait(ctx, service, model.WaitHealthy, progress.Discard)
	}
	err := r.Ended(ctx, service)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return problem.New(fmt.Sprintf("end the pods of service %q", service), context.Cause(ctx), "give it longer with --wait-timeout, or see `berth ps --all`")
	}
	return err
}

// withTimeout calls f with a context that ends after d, or with ctx itself
// where d is 0.
func withTimeout(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	if d <= 0 {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("not done within %s", d))
	defer cancel()
	return f(ctx)
}
