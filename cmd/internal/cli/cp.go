package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

type cpOptions struct {
	archive bool
	follow  bool
	index   int
}

func newCpCommand(app *App) *cobra.Command {
	var opts cpOptions
	cmd := &cobra.Command{
		Use:   "cp SERVICE:SRC_PATH DEST_PATH|- | SRC_PATH|- SERVICE:DEST_PATH",
		Short: "Copy files between a running service and this machine",
		Long: `Copy files or folders out of a service's container or into it, by the rules of
docker compose cp. "-" is a tar archive on standard input or output. Without
--index files go into every container of the service, and come from the first.
The image needs no program for it.`,
		Args:              takes(2, 2, "name what to copy and where to"),
		ValidArgsFunction: app.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.cp(cmd.Context(), parseCopyArg(args[0]), parseCopyArg(args[1]), opts)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.archive, "archive", "a", false, "keep the numbers of owner and group")
	flags.BoolVarP(&opts.follow, "follow-link", "L", false, "copy what a link at the end of SRC_PATH leads to")
	flags.IntVar(&opts.index, "index", 0, "the `n`-th pod of the service")
	return cmd
}

// A copyArg is one side of a copy.
type copyArg struct {
	service string // "" for this machine
	path    string // "-" on this machine: a stream
}

// parseCopyArg reads SERVICE:PATH, or a path of this machine, which it is when
// it is absolute or begins with a dot.
func parseCopyArg(arg string) copyArg {
	service, rest, found := strings.Cut(arg, ":")
	if !found || service == "" || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		return copyArg{path: arg}
	}
	return copyArg{service: service, path: rest}
}

// cp copies in the one direction that exactly one service gives.
func (app *App) cp(ctx context.Context, from, to copyArg, opts cpOptions) error {
	switch {
	case from.service != "" && to.service != "":
		return misuse("copy", errors.New("from one service to another is not possible"), "copy to this machine first")
	case from.service == "" && to.service == "":
		return misuse("copy", errors.New("neither path names a service"), "write the one inside a container as SERVICE:PATH")
	case !app.owned():
		return misuse("copy", errors.New("the files of a container are read and written by the agent of its node, which only clusters made by berth have"),
			"leave out --context, or use kubectl cp")
	case from.service != "" && from.path == "":
		return misuse("copy", fmt.Errorf("there is no path after %q", from.service+":"), "write "+from.service+":/ for everything in the container")
	}
	if err := checkIndex(opts.index); err != nil {
		return err
	}
	var source localSource
	if from.service == "" && from.path != "-" {
		var err error
		if source, err = newLocalSource(from.path, opts.follow); err != nil {
			return problem.New(fmt.Sprintf("copy %q", from.path), withoutPath(err), "")
		}
	}
	r, err := app.running(ctx, []string{from.service + to.service})
	if err != nil {
		return err
	}
	if from.service != "" {
		pod, err := r.pod(from.service, opts.index)
		if err != nil {
			return err
		}
		return app.inContainer(ctx, pod, func(c container) error { return app.copyOut(ctx, c, from.path, to.path, opts) })
	}
	if to.path == "" {
		to.path = "/"
	}
	return app.copyIn(ctx, r, source, from.path, to, opts)
}

// A container is a running container and the agent of its node.
type container struct {
	node *agent.Node
	id   string
	pod  string
}

// inContainer calls do with the container of a pod.
func (app *App) inContainer(ctx context.Context, pod model.PodState, do func(container) error) error {
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	node, err := agent.Connect(ctx, engine, pod.Node)
	if err != nil {
		return err
	}
	return errors.Join(do(container{node: node, id: pod.ContainerID, pod: pod.Name}), node.Close())
}

// copyOut copies a path of a container to this machine, or as a tar to
// standard output.
func (app *App) copyOut(ctx context.Context, c container, source, dest string, opts cpOptions) error {
	what := fmt.Sprintf("copy %q of pod %q", source, c.pod)
	info, err := c.node.Stat(ctx, c.id, source, opts.follow)
	if err != nil {
		return problem.New(what, notThere(err), "")
	}
	base := path.Base(path.Clean("/" + source))
	if base == "/" || source == "." || strings.HasSuffix(source, "/.") {
		base = "."
	}
	if dest == "-" {
		if isTerminal(app.Out) {
			return problem.New(what, errors.New("a tar archive is not for a terminal"), "redirect standard output: berth cp ... - >FILE.tar")
		}
		app.settle()
		return c.node.Archive(ctx, c.id, source, opts.follow, base, app.Out)
	}
	target, err := localTarget(dest, base, info.Mode.IsDir())
	if err != nil {
		return problem.New(what, err, "")
	}
	task := progress.Start(app.sink(), "copy "+source, "from pod "+c.pod)
	in, out := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := c.node.Archive(ctx, c.id, source, opts.follow, base, out)
		out.CloseWithError(err)
		sent <- err
	}()
	n, err := target.unpack(in, opts.archive)
	in.CloseWithError(err) // ends the sender when it has not been read to its end
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	return task.End(err, fmt.Sprintf("%d files to %s", n, target))
}

// notThere says in words what an absent path is.
func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no such file or folder in the container")
	}
	return err
}

// withoutPath takes the operation and the path off an error of a file: our own
// text names the file.
func withoutPath(err error) error {
	var of *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file or folder")
	case errors.As(err, &of):
		return of.Err
	}
	return err
}

// copyIn copies src, the path source of this machine, or for "-" the tar on
// standard input, into every container of a service, or into one.
func (app *App) copyIn(ctx context.Context, r *running, src localSource, source string, to copyArg, opts cpOptions) error {
	pods, err := r.copyTargets(to.service, opts.index)
	if err != nil {
		return err
	}
	if source == "-" && len(pods) > 1 {
		return problem.New("copy standard input", fmt.Errorf("service %q has %d containers, and it can be read once", to.service, len(pods)), "choose one with --index")
	}
	var errs []error
	for _, pod := range pods {
		errs = append(errs, app.inContainer(ctx, pod, func(c container) error {
			task := progress.Start(app.sink(), "copy "+source, "to pod "+c.pod)
			n, err := app.putInto(ctx, c, src, source, to, opts)
			return task.End(err, fmt.Sprintf("%d files to %s:%s", n, c.pod, to.path))
		}))
	}
	return errors.Join(errs...)
}

// copyTargets are the pods that files go to.
func (r *running) copyTargets(service string, index int) ([]model.PodState, error) {
	first, err := r.pod(service, index)
	if err != nil || index > 0 {
		return []model.PodState{first}, err
	}
	var pods []model.PodState
	for _, p := range r.state(service).Pods {
		if p.Phase == "Running" && p.Reason == "" {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

func (app *App) putInto(ctx context.Context, c container, src localSource, source string, to copyArg, opts cpOptions) (int, error) {
	dest, makeFolder := to.path, "make it first: berth exec "+to.service+" mkdir -p "
	info, err := c.node.Stat(ctx, c.id, dest, true)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if source == "-" {
		if !exists || !info.Mode.IsDir() {
			return 0, problem.New(fmt.Sprintf("unpack into %q", dest), errors.New("it is no folder of the container"), makeFolder+dest)
		}
		return c.node.Extract(ctx, c.id, dest, opts.archive, app.In)
	}
	dir, name, err := placeIn(dest, exists, info.Mode.IsDir(), src)
	if err != nil {
		return 0, err
	}
	if parent, err := c.node.Stat(ctx, c.id, dir, true); err != nil || !parent.Mode.IsDir() {
		return 0, problem.New(fmt.Sprintf("copy to %q", dest), fmt.Errorf("there is no folder %q in the container", dir), makeFolder+dir)
	}
	in, out := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w := tar.NewWriter(out)
		err := src.pack(w, name)
		out.CloseWithError(errors.Join(err, w.Close()))
	}()
	n, err := c.node.Extract(ctx, c.id, dir, opts.archive, in)
	in.Close()
	<-packed
	return n, err
}

// placeIn is where in a container src goes: a folder that must exist and the
// name in it, "." for the folder's own content.
func placeIn(dest string, exists, isDir bool, src localSource) (dir, name string, err error) {
	dest = path.Join("/", dest) + trailing(dest)
	switch {
	case exists && isDir && src.content:
		return dest, ".", nil
	case exists && isDir:
		return dest, src.name, nil
	case exists && src.dir:
		return "", "", problem.New(fmt.Sprintf("copy to %q", dest), errors.New("a folder cannot take the place of a file"), "name another path")
	case strings.HasSuffix(dest, "/") && (!src.dir || exists):
		return "", "", problem.New(fmt.Sprintf("copy to %q", dest), errors.New("there is no such folder in the container"), "make it first, or leave out the slash at the end")
	}
	dest = path.Clean(dest)
	return path.Dir(dest), path.Base(dest), nil
}

// trailing is the slash at the end of a path, if it has one.
func trailing(p string) string {
	if strings.HasSuffix(p, "/") && path.Clean(p) != "/" {
		return "/"
	}
	return ""
}
