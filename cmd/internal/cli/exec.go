package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
)

type execOptions struct {
	noTTY       bool
	interactive bool
	index       int
	env         []string
	workdir     string
	user        string
	privileged  bool
	detach      bool
}

func newExecCommand(app *App) *cobra.Command {
	var opts execOptions
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] SERVICE COMMAND [ARG...]",
		Short: "Run a command in a running service, with a terminal where there is one",
		Long: `Run a command in a container of a running service. The command's exit status is
berth's. A terminal is used when standard input and output are one.`,
		Args: cobra.MinimumNArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return app.completeServices(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := opts.command(args[1:])
			if err != nil {
				return err
			}
			r, err := app.running(cmd.Context(), args[:1])
			if err != nil {
				return err
			}
			pod, err := r.pod(args[0], opts.index)
			if err != nil {
				return err
			}
			app.settle()
			return app.exec(cmd.Context(), r.kube, r.Namespace(), pod.Name, kube.ExecOptions{Container: pod.Container, Command: command}, !opts.noTTY, opts.interactive)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows SERVICE belongs to the command
	flags.BoolVarP(&opts.noTTY, "no-tty", "T", false, "use no terminal")
	flags.BoolVarP(&opts.interactive, "interactive", "i", true, "pass standard input on")
	flags.IntVar(&opts.index, "index", 0, "the `n`-th pod of the service; default: one that is ready")
	flags.StringArrayVarP(&opts.env, "env", "e", nil, "set a variable for the command: `KEY=VALUE`")
	flags.StringVarP(&opts.workdir, "workdir", "w", "", "`directory` to run the command in")
	flags.StringVarP(&opts.user, "user", "u", "", "not possible here; says why")
	flags.BoolVar(&opts.privileged, "privileged", false, "not possible here; says why")
	flags.BoolVarP(&opts.detach, "detach", "d", false, "not possible here; says why")
	return cmd
}

// command is what is run in the container. Kubernetes runs a command as the
// container is: what docker's exec can change beyond that needs help from
// programs in the image, or is refused.
func (o execOptions) command(args []string) ([]string, error) {
	switch {
	case o.user != "":
		return nil, problem.New("exec --user", errors.New("the Kubernetes API runs commands as the container's own user"), "use su or setpriv inside the container, or set `user` of the service")
	case o.privileged:
		return nil, problem.New("exec --privileged", errors.New("the Kubernetes API runs commands with the container's own rights"), "set `privileged: true` of the service")
	case o.detach:
		return nil, problem.New("exec --detach", errors.New("the Kubernetes API ends a command's streams with its connection"), "put the command into the background with your shell: berth exec SERVICE COMMAND &")
	}
	var command []string
	if o.workdir != "" {
		command = []string{"sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", o.workdir}
	}
	if len(o.env) > 0 {
		command = append(command, "env")
		for _, e := range o.env {
			if key, _, ok := strings.Cut(e, "="); !ok || key == "" {
				return nil, problem.New(fmt.Sprintf("--env %q", e), nil, "write KEY=VALUE")
			}
			command = append(command, e)
		}
	}
	return append(command, args...), nil
}

// Exit statuses that a shell, and docker, give a command that did not run.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

// exec runs a command in a pod and passes its exit status on.
func (app *App) exec(ctx context.Context, client *kube.Client, namespace, pod string, o kube.ExecOptions, tty, stdin bool) error {
	o.Stdout, o.Stderr = app.Out, app.Err
	if stdin {
		o.Stdin = app.In
	}
	if in, ok := app.In.(*os.File); ok && tty && stdin && isTerminal(app.In) && isTerminal(app.Out) {
		o.TTY = true
		sizes, restore, err := rawTerminal(ctx, in, app.Out)
		if err != nil {
			return err
		}
		defer restore()
		o.Sizes = sizes
	}
	err := client.Exec(ctx, namespace, pod, o)
	var status *kube.ExitError
	switch {
	case errors.As(err, &status):
		return exitError{status.Code}
	case err == nil || ctx.Err() != nil:
		return err
	}
	return app.notRun(err, o.Command)
}

// notRun tells a command that could not be started, which has an exit status
// of its own, from other failures.
func (app *App) notRun(err error, command []string) error {
	text := err.Error()
	var code int
	switch {
	case strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory"):
		code = exitNotFound
	case strings.Contains(text, "permission denied"):
		code = exitNotRunnable
	default:
		return problem.New("exec", err, "")
	}
	if i := strings.Index(text, "exec failed: "); i >= 0 {
		text = text[i:]
	}
	fmt.Fprintf(app.Err, "Error: run %q: %s\n", command[0], text)
	return exitError{code}
}

// sizeEvery is how often a terminal is asked for its size: there is no signal
// for it on every platform.
const sizeEvery = 250 * time.Millisecond

// rawTerminal hands the terminal's keys over unprocessed until restore is
// called, and reports its size now and when it changes.
func rawTerminal(ctx context.Context, in *os.File, out io.Writer) (sizes <-chan kube.TerminalSize, restore func(), err error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan kube.TerminalSize)
	done := make(chan struct{})
	go func() {
		defer close(done)
		reportSizes(ctx, out, changes)
	}()
	return changes, func() {
		cancel()
		<-done
		_ = term.Restore(int(in.Fd()), before) // nothing else can be done about it
	}, nil
}

func reportSizes(ctx context.Context, out io.Writer, changes chan<- kube.TerminalSize) {
	f, ok := out.(*os.File)
	if !ok {
		return
	}
	tick := time.NewTicker(sizeEvery)
	defer tick.Stop()
	var last kube.TerminalSize
	for {
		width, height, err := term.GetSize(int(f.Fd()))
		now := kube.TerminalSize{Width: uint16(width), Height: uint16(height)}
		if err == nil && now != last {
			select {
			case changes <- now:
				last = now
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
