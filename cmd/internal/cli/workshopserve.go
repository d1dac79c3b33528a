package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/workshop/page"
)

func newWorkshopServeCommand(app *App, flags *workshopFlags) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show the workshop in the browser, until interrupted",
		Long: `Serve the pages of a started workshop on 127.0.0.1 and print their addresses: one
for each learner and, where there are several, the instructor's. The addresses
hold a secret: whoever has one may use its page.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return app.serveWorkshop(cmd.Context(), flags, port)
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "`port` of 127.0.0.1 (default: a free one)")
	return cmd
}

func (app *App) serveWorkshop(ctx context.Context, flags *workshopFlags, port int) error {
	store, run, err := app.loadRun(flags)
	if err != nil {
		return err
	}
	options, err := app.runningWorkshop(ctx, store, run)
	if err != nil {
		return err
	}
	server, err := page.New(run.Name, options)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return problem.New("serve the workshop's pages", err, "choose another --port")
	}
	address := listener.Addr().String()
	local := strings.Replace(address, "127.0.0.1", "localhost", 1)
	app.settle()
	for _, l := range run.Learners {
		fmt.Fprintf(app.Out, "%s\thttp://%s/%s/\n", l.Name, address, l.Token)
	}
	if len(run.Learners) > 1 {
		fmt.Fprintf(app.Out, "instructor\thttp://%s/%s/\n", address, run.Token)
	}
	web := &http.Server{
		Handler: server.Handler(ctx, address, local), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		stopped <- errors.Join(web.Shutdown(closing), web.Close())
	})
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped // interrupted: that is how it ends
}

func newWorkshopBroadcastCommand(app *App, flags *workshopFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "broadcast TEXT",
		Short: "Show all learners a message on their pages",
		Args:  takes(1, 1, "give the text as one argument, in quotes"),
		RunE: func(_ *cobra.Command, args []string) error {
			store, run, err := app.loadRun(flags)
			if err != nil {
				return err
			}
			return store.Broadcast(run.Name, args[0], time.Now())
		},
	}
}
