package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/image"
)

// onceOptions are those of `berth dev --once`, what CI runs.
type onceOptions struct {
	once bool
	exec string
	down bool
}

func (o *onceOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.once, "once", false, "end when everything serves")
	flags.StringVar(&o.exec, "exec", "", "with --once: then run this `command` line in the shell; its exit status is berth's")
	flags.BoolVar(&o.down, "down", false, "with --once: take the project down in the end, however it went")
}

// check refuses what makes no sense without --once.
func (o *onceOptions) check() error {
	if o.once || o.exec == "" && !o.down {
		return nil
	}
	return misuse("--exec and --down", errors.New("without --once the loop has no end after which to run a command"), "add --once")
}

// Times of the end of `berth dev --once`.
const (
	interruptGrace = 10 * time.Second // for the command to end after Ctrl-C
	downWithin     = 2 * time.Minute  // for the project to be taken down, also after Ctrl-C
)

// after does what is asked for once everything serves, or did not come to.
func (o *onceOptions) after(ctx context.Context, app *App, project string, err error) error {
	if !o.once {
		return err
	}
	err = image.WithMissing(err)
	if err == nil && o.exec != "" {
		app.settle()
		err = app.shell(ctx, o.exec)
	}
	if !o.down {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downWithin)
	defer cancel()
	return errors.Join(err, app.down(ctx, project, downOptions{timeout: ownGrace}))
}

// shell runs a command line of the user on this machine and passes its exit
// status on.
func (app *App) shell(ctx context.Context, line string) error {
	command := []string{"sh", "-c", line}
	if runtime.GOOS == "windows" {
		command = []string{"cmd", "/C", line}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = app.Dir, app.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = app.In, app.Out, app.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptGrace
	if !isTerminal(app.In) { // which interrupts all that runs there by itself
		killRest := ownGroup(cmd)
		defer func() {
			if ctx.Err() != nil {
				killRest()
			}
		}()
	}
	err := cmd.Run()
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &status):
		return exitError{status.ExitCode()}
	}
	return err
}
