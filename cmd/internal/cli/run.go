package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

type runOptions struct {
	detach      bool
	noTTY       bool
	interactive bool
	noDeps      bool
	build       bool
	pull        string
	quietPull   bool
	quietBuild  bool
	env         []string
	envFiles    []string
	entrypoint  string
	name        string
	user        string
	workdir     string
	volumes     []string
	publish     []string
	servicePort bool
	labels      []string
	capAdd      []string
	capDrop     []string
	useAliases  bool
	quiet       bool
}

func newRunCommand(app *App) *cobra.Command {
	var opts runOptions
	cmd := &cobra.Command{
		Use:   "run [flags] SERVICE [COMMAND] [ARG...]",
		Short: "Run a one-off command in a new pod of a service",
		Long: `Run a command in a pod of its own, made like those of the service, with its
volumes and networks but without its ports, unless --publish or --service-ports
asks for some. The command's exit status is berth's, and the pod is removed when it
has ended. A service that is not in the cluster is built and loaded first, and what
it depends on is started. Without a terminal, standard error stays apart from
standard output, but on clusters of --context.`,
		Args:              takes(1, -1, "name a service"),
		ValidArgsFunction: app.completeServiceThen,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPull(opts.pull); err != nil {
				return err
			}
			vars, err := composefile.ReadEnvFiles(app.Dir, opts.envFiles, app.Env)
			if err != nil {
				return err
			}
			o, err := opts.oneOff(args[0], args[1:], vars, app.Getenv)
			if err != nil {
				return err
			}
			return app.run(cmd.Context(), o, opts)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows SERVICE belongs to the command
	flags.BoolVarP(&opts.detach, "detach", "d", false, "print the pod's name and leave it running")
	flags.BoolVarP(&opts.noTTY, "no-TTY", "T", false, "use no terminal")
	flags.BoolVarP(&opts.interactive, "interactive", "i", true, "pass standard input on")
	flags.BoolVar(&opts.noDeps, "no-deps", false, "do not start what the service depends on")
	flags.BoolVar(&opts.build, "build", false, "bring the service up to date first, image included")
	flags.StringVar(&opts.pull, "pull", "", "in place of pull_policy, for images without a build section: `when` is always, which asks the registry first, missing or never")
	flags.BoolVar(&opts.quietPull, "quiet-pull", false, "show no progress of pulls")
	flags.BoolVar(&opts.quietBuild, "quiet-build", false, "show no progress of builds")
	flags.StringArrayVarP(&opts.env, "env", "e", nil, "set a variable: `KEY=VALUE`, or KEY for the one of this shell")
	flags.StringArrayVar(&opts.envFiles, "env-from-file", nil, "set the variables of a `file`; --env wins")
	flags.StringVar(&opts.entrypoint, "entrypoint", "", "`program` to run instead of the image's entrypoint")
	flags.StringVar(&opts.name, "name", "", "`name` of the pod")
	flags.StringVarP(&opts.user, "user", "u", "", "user `id`, or user:group, as numbers")
	flags.StringVarP(&opts.workdir, "workdir", "w", "", "`directory` to run the command in")
	flags.StringArrayVarP(&opts.volumes, "volume", "v", nil, "mount a volume of the project or a directory that the nodes see: `SOURCE:TARGET[:ro]`")
	flags.StringArrayVarP(&opts.publish, "publish", "p", nil, "publish a TCP port on this machine while the command runs: `[IP:]HOST:CONTAINER`")
	flags.BoolVarP(&opts.servicePort, "service-ports", "P", false, "publish the service's own TCP ports while the command runs")
	flags.StringArrayVarP(&opts.labels, "label", "l", nil, "give the pod a label: `KEY=VALUE`")
	flags.StringArrayVar(&opts.capAdd, "cap-add", nil, "add a `capability`")
	flags.StringArrayVar(&opts.capDrop, "cap-drop", nil, "drop a `capability`")
	flags.BoolVar(&opts.useAliases, "use-aliases", false, "let the service's names lead to the pod, too")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "print nothing but what the command prints")
	addAlwaysFlag(flags, "rm", "remove the pod when the command has ended; always so")
	return cmd
}

// oneOff reads the options' values; env are the variables of its env files.
func (o runOptions) oneOff(service string, command []string, env map[string]string, getenv func(string) string) (apply.OneOff, error) {
	one := apply.OneOff{Service: service, Name: o.name, WorkingDir: o.workdir, Stdin: o.interactive && !o.detach, Env: env}
	for _, word := range command {
		one.Command = append(one.Command, translate.Literal(word))
	}
	for _, word := range strings.Fields(o.entrypoint) {
		one.Entrypoint = append(one.Entrypoint, translate.Literal(word))
	}
	for _, e := range o.env {
		key, value, ok := strings.Cut(e, "=")
		if !ok {
			value = getenv(key)
		}
		if key == "" {
			return one, misuse(fmt.Sprintf("--env %q", e), nil, "write KEY=VALUE")
		}
		one.Env[key] = value
	}
	for key, value := range one.Env {
		one.Env[key] = translate.Literal(value)
	}
	one.UseAliases = o.useAliases
	one.CapAdd, one.CapDrop = capabilities(o.capAdd), capabilities(o.capDrop)
	var err error
	if one.Labels, err = parseLabels(o.labels); err != nil {
		return one, err
	}
	for _, v := range o.volumes { // runMounts reads them, when the cluster is known
		if _, err := mountParts(v); err != nil {
			return one, err
		}
	}
	if o.user != "" {
		user, group, grouped := strings.Cut(o.user, ":")
		uid, err := strconv.ParseInt(user, 10, 64)
		if err != nil {
			return one, misuse(fmt.Sprintf("--user %q", o.user), errors.New("the Kubernetes API knows users by number alone"), "give the number: berth run "+service+" id")
		}
		one.User = &uid
		if grouped {
			gid, err := strconv.ParseInt(group, 10, 64)
			if err != nil {
				return one, misuse(fmt.Sprintf("--user %q", o.user), errors.New("the Kubernetes API knows groups by number alone"), "give the number: berth run "+service+" id")
			}
			one.Group = &gid
		}
	}
	return one, nil
}

// removeFor is how long removing the pod may take after Ctrl-C.
const removeFor = 10 * time.Second

// run runs the command from its pod's start to its end.
func (app *App) run(ctx context.Context, o apply.OneOff, opts runOptions) (err error) {
	if opts.quiet {
		app.global.progress = "quiet"
	}
	forwards, err := app.runPorts(ctx, o.Service, opts)
	if err != nil {
		return err
	}
	r, err := app.runnable(ctx, o.Service, opts)
	if err != nil {
		return err
	}
	if o.Mounts, err = app.runMounts(ctx, opts.volumes); err != nil {
		return err
	}
	in, isFile := app.In.(*os.File)
	o.TTY = !opts.noTTY && o.Stdin && isFile && isTerminal(app.In) && isTerminal(app.Out)
	pod, err := r.OneOff(ctx, o)
	if err != nil {
		return err
	}
	if opts.detach {
		app.settle()
		_, err := fmt.Fprintln(app.Out, pod.Name)
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
		defer cancel()
		if e := r.Remove(ctx, pod); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if err := r.AwaitRun(ctx, pod, app.sink()); err != nil {
		return err
	}
	app.settle()
	unpublish, err := app.publishRun(ctx, r, pod, forwards)
	if err != nil {
		return err
	}
	defer unpublish()
	if o.TTY {
		err = app.attachTerminal(ctx, r, pod, in)
	} else {
		err = app.attachStreams(ctx, r, pod, o.Stdin)
	}
	if err != nil {
		return err
	}
	code, err := r.AwaitEnd(ctx, pod)
	if err == nil && code != 0 {
		return exitError{code}
	}
	return err
}

// runnable makes sure that the cluster has the service, if need be without a
// pod of it.
func (app *App) runnable(ctx context.Context, service string, opts runOptions) (*running, error) {
	r, err := app.running(ctx, []string{service})
	if err == nil && r.state(service) != nil && !opts.build && opts.pull != "always" {
		return r, nil
	}
	s, err := app.newSession(ctx, []string{service}, sessionOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	up := devloop.UpOptions{Services: []string{service}, NoDeps: opts.noDeps, Build: opts.build, Pull: opts.pull, QuietPull: opts.quietPull, QuietBuild: opts.quietBuild}
	if r == nil || r.state(service) == nil {
		up.Scale = map[string]int{service: 0}
	}
	if _, err := s.engine.Up(ctx, up); err != nil {
		return nil, err
	}
	return app.running(ctx, []string{service})
}

// attachStreams passes standard input on and everything that the container
// writes, from its first line, which an attachment alone would miss.
func (app *App) attachStreams(ctx context.Context, r *running, pod apply.Pod, stdin bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var feeder sync.WaitGroup
	defer feeder.Wait()
	if stdin {
		feeder.Go(func() {
			// How it ends says nothing: the container may end before its input.
			_ = r.kube.Attach(ctx, r.Namespace(), pod.Name, kube.ExecOptions{Container: pod.Container, Stdin: app.In})
		})
	}
	defer cancel() // when the command has ended, what is left of the input has no reader
	if !app.owned() {
		return r.kube.Logs(ctx, r.Namespace(), pod.Name, kube.LogOptions{Container: pod.Container, Follow: true, Tail: -1}, func(l kube.LogLine) {
			fmt.Fprintln(app.Out, l.Text)
		})
	}
	live, err := r.State(ctx, pod)
	if err != nil {
		return err
	}
	return app.inContainer(ctx, live, func(c container) error {
		return c.node.LogUntil(ctx, c.id, &streamSplitter{out: app.Out, err: app.Err}, func(ctx context.Context) error {
			_, err := r.AwaitEnd(ctx, pod)
			return err
		})
	})
}

// countingWriter counts what passes through it.
type countingWriter struct {
	io.Writer
	n int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += n
	return n, err
}

// attachTerminal connects the terminal. A command that was quicker than the
// connection has its output printed from the log.
func (app *App) attachTerminal(ctx context.Context, r *running, pod apply.Pod, in *os.File) error {
	sizes, restore, err := rawTerminal(ctx, in, app.Out)
	if err != nil {
		return err
	}
	out := &countingWriter{Writer: app.Out}
	attached := r.kube.Attach(ctx, r.Namespace(), pod.Name, kube.ExecOptions{Container: pod.Container, Stdin: app.In, Stdout: out, TTY: true, Sizes: sizes})
	restore()
	if out.n > 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	if _, err := r.AwaitEnd(ctx, pod); err != nil {
		return errors.Join(attached, err)
	}
	return r.kube.Logs(ctx, r.Namespace(), pod.Name, kube.LogOptions{Container: pod.Container, Tail: -1}, func(l kube.LogLine) {
		fmt.Fprintln(app.Out, l.Text)
	})
}
