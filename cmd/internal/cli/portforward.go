package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
)

func newPortForwardCommand(app *App) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:               "port-forward SERVICE [LOCAL:]PORT...",
		Short:             "Reach ports of a service that the compose file does not publish",
		Args:              takes(2, -1, "name a service and a port"),
		ValidArgsFunction: app.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			ports, err := parseForwards(args[1:])
			if err != nil {
				return err
			}
			r, err := app.running(cmd.Context(), args[:1])
			if err != nil {
				return err
			}
			if _, err := r.pod(args[0], 0); err != nil {
				return err
			}
			app.settle()
			return app.portForward(cmd.Context(), r, args[0], address, ports)
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1", "`address` to listen on")
	return cmd
}

type forward struct{ local, remote int }

// parseForwards reads [LOCAL:]PORT; ":PORT" chooses a free local port.
func parseForwards(args []string) ([]forward, error) {
	var list []forward
	for _, arg := range args {
		local, remote, found := strings.Cut(arg, ":")
		if !found {
			remote = local
		}
		if local == "" {
			local = "0"
		}
		l, errLocal := strconv.ParseUint(local, 10, 16)
		p, errRemote := strconv.ParseUint(remote, 10, 16)
		if errLocal != nil || errRemote != nil || p == 0 {
			return nil, misuse(fmt.Sprintf("port %q", arg), nil, "write PORT, LOCAL:PORT, or :PORT for any free local port")
		}
		list = append(list, forward{int(l), int(p)})
	}
	return list, nil
}

// portForward listens until ctx ends. Connections go to a pod that is ready
// when they are made.
func (app *App) portForward(ctx context.Context, r *running, service, address string, ports []forward) error {
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for _, p := range ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(p.local)))
		if err != nil {
			closeAll()
			return problem.New(fmt.Sprintf("listen on port %d", p.local), err, fmt.Sprintf("choose another: berth port-forward %s :%d", service, p.remote))
		}
		listeners = append(listeners, l)
		fmt.Fprintf(app.Out, "Forwarding %s -> %s:%d\n", l.Addr(), service, p.remote)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range ports {
		group.Go(func() error {
			return r.kube.PortForward(ctx, kube.Forward{
				Listener: listeners[i], Namespace: r.Namespace(), Port: p.remote,
				Pod: func(ctx context.Context) (string, error) { return readyPod(ctx, r, service) },
				Lost: func(err error) {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(app.Err, "%s:%d: %v\n", service, p.remote, err)
				},
			})
		})
	}
	err := group.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// readyPod is the pod of a service that takes connections now.
func readyPod(ctx context.Context, r *running, service string) (string, error) {
	states, err := r.Observe(ctx)
	if err != nil {
		return "", err
	}
	now := &running{Project: r.Project, name: r.name, states: states}
	pod, err := now.pod(service, 0)
	return pod.Name, err
}
