package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
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
		Use:   "exec [flags] SERVICE COMMAND [ARG...]",
		Short: "Run a command in a running service, with a terminal where there is one",
		Long: `Run a command in a container of a running service. The command's exit status is
berth's. A terminal is used when standard input and output are one. With --user
or --detach the node starts the command, not the API server; that needs a kind
cluster whose nodes run in this engine.`,
		Args:              takes(2, -1, "name a service and a command"),
		ValidArgsFunction: app.completeServiceThen,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.check(); err != nil {
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
			return app.exec(cmd.Context(), app.starter(r, pod, opts, args[1:]), !opts.noTTY && !opts.detach, opts.interactive && !opts.detach)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows SERVICE belongs to the command
	flags.BoolVarP(&opts.noTTY, "no-tty", "T", false, "use no terminal")
	flags.BoolVarP(&opts.interactive, "interactive", "i", true, "pass standard input on")
	flags.IntVar(&opts.index, "index", 0, "the `n`-th pod of the service; default: one that is ready")
	flags.StringArrayVarP(&opts.env, "env", "e", nil, "set a variable for the command: `KEY=VALUE`")
	flags.StringVarP(&opts.workdir, "workdir", "w", "", "`directory` to run the command in")
	flags.StringVarP(&opts.user, "user", "u", "", "`user` to run the command as: NAME, UID or UID:GID")
	flags.BoolVar(&opts.privileged, "privileged", false, "not possible here; says why")
	flags.BoolVarP(&opts.detach, "detach", "d", false, "return as soon as the command runs; its output is dropped")
	return cmd
}

// check refuses what no way of starting a command can do.
func (o execOptions) check() error {
	if o.privileged {
		return misuse("exec --privileged", errors.New("a command has its container's own rights"), "set `privileged: true` of the service")
	}
	if err := checkIndex(o.index); err != nil {
		return err
	}
	for _, e := range o.env {
		if key, _, ok := strings.Cut(e, "="); !ok || key == "" {
			return misuse(fmt.Sprintf("--env %q", e), nil, "write KEY=VALUE")
		}
	}
	return nil
}

// command is what is run in the container to run args with the variables and,
// unless its starter does that, in the directory of o. Kubernetes runs a
// command as the container is: more needs help from programs in the image.
func (o execOptions) command(args []string) []string {
	var command []string
	if o.workdir != "" {
		command = []string{"sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", o.workdir}
	}
	if len(o.env) > 0 {
		command = append(append(command, "env"), o.env...)
	}
	return append(command, args...)
}

// Exit statuses that a shell, and docker, give a command that did not run.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

// A starter runs a command in a container to its end: nil for status 0,
// *kube.ExitError for any other.
type starter func(context.Context, kube.ExecOptions) error

// starter is how args are run in a pod: through the API server, or by the
// pod's node where only that can do what the user asks for.
func (app *App) starter(r *running, pod model.PodState, o execOptions, args []string) starter {
	if o.user == "" && !o.detach {
		return func(ctx context.Context, e kube.ExecOptions) error {
			e.Container, e.Command = pod.Container, o.command(args)
			return r.kube.Exec(ctx, r.Namespace(), pod.Name, e)
		}
	}
	return func(ctx context.Context, e kube.ExecOptions) error {
		if !app.owned() {
			return problem.New("exec --user or --detach", errors.New("the Kubernetes API runs a command as the container's own user, and ends it with its connection"),
				"leave out --context; or use su or setpriv of the container's image")
		}
		engine, err := app.docker(ctx)
		if err != nil {
			return err
		}
		by := cluster.NodeExec{Node: pod.Node, Container: pod.ContainerID, Dir: o.workdir, Env: o.env, Detach: o.detach}
		if by.User, err = app.userIn(ctx, r, pod, o.user); err != nil {
			return err
		}
		e.Command = args
		return by.Run(ctx, engine, e)
	}
}

// userIn finds a user of a container, with the groups that all processes of the
// pod have; nil for "".
func (app *App) userIn(ctx context.Context, r *running, pod model.PodState, name string) (u *docker.User, err error) {
	if name == "" {
		return nil, nil
	}
	live, err := kube.Get[corev1.Pod](ctx, r.kube, r.Namespace(), pod.Name)
	if err != nil {
		return nil, err
	}
	err = app.inContainer(ctx, pod, func(c container) error {
		u, err = userOf(ctx, c.node, c.id, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.Sgids = append(u.Sgids, podGroups(live)...)
	return u, nil
}

// podGroups are the groups that the definition of a pod gives to all of its
// processes: group_add, and that of its volumes.
func podGroups(pod *corev1.Pod) []int {
	s := pod.Spec.SecurityContext
	if s == nil {
		return nil
	}
	all := slices.Clone(s.SupplementalGroups)
	if s.FSGroup != nil {
		all = append(all, *s.FSGroup)
	}
	groups := make([]int, len(all))
	for i, gid := range all {
		groups[i] = int(gid)
	}
	return groups
}

// userOf finds a user in the files of a container.
func userOf(ctx context.Context, node *agent.Node, container, name string) (*docker.User, error) {
	var files [2][]byte
	for i, path := range []string{"/etc/passwd", "/etc/group"} {
		var archive bytes.Buffer
		err := node.Archive(ctx, container, path, true, "file", &archive)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an image without users
		}
		if err != nil {
			return nil, err
		}
		in := tar.NewReader(&archive)
		if _, err := in.Next(); err != nil {
			return nil, err
		}
		if files[i], err = io.ReadAll(in); err != nil {
			return nil, err
		}
	}
	return docker.ParseUser(name, files[0], files[1])
}

// exec runs a command in a container and passes its exit status on.
func (app *App) exec(ctx context.Context, start starter, tty, stdin bool) error {
	o := kube.ExecOptions{Stdout: app.Out, Stderr: app.Err}
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
	err := start(ctx, o)
	var status *kube.ExitError
	switch {
	case errors.As(err, &status):
		return exitError{status.Code}
	case err == nil || ctx.Err() != nil:
		return err
	}
	return app.notRun(err)
}

// notRun tells a command that could not be started, which has an exit status
// of its own, from other failures.
func (app *App) notRun(err error) error {
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
	fmt.Fprintf(app.Err, "Error: run the command: %s\n", text)
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
