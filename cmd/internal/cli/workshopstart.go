package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/workshop"
)

// maxLearners bounds --learners: each has pods of its own on this machine.
const maxLearners = 50

type startOptions struct {
	folder   string
	learners int
	step     string
}

func newWorkshopStartCommand(app *App) *cobra.Command {
	var opts startOptions
	cmd := &cobra.Command{
		Use:   "start [DIR]",
		Short: "Start a workshop: cluster, images, namespace and first step",
		Long: `Start the workshop in a folder: create the cluster if there is none, load the
workshop's images, make the learner's namespace and set the first step up. Run
again it goes on where it was. With --learners every learner gets a namespace
with quota and network walls, and access to nothing else.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.learners < 0 || opts.learners > maxLearners {
				return misuse(fmt.Sprintf("--learners %d", opts.learners), nil, fmt.Sprintf("use 1 to %d", maxLearners))
			}
			return app.startWorkshop(cmd.Context(), opts)
		},
	}
	app.folderArgument(cmd, &opts.folder)
	cmd.Flags().IntVar(&opts.learners, "learners", 0, "`number` of learners that share the cluster (default: one, who has all of it)")
	cmd.Flags().StringVar(&opts.step, "step", "", "begin at this `step` (number or folder): those before it are solved")
	return cmd
}

func (app *App) startWorkshop(ctx context.Context, opts startOptions) error {
	w, err := app.lintedWorkshop(opts.folder)
	if err != nil {
		return err
	}
	first := -1
	if opts.step != "" {
		if first, err = w.Find(opts.step); err != nil {
			return err
		}
	}
	info, err := app.workshopClusterFor(ctx, w)
	if err != nil {
		return err
	}
	if err := app.workshopImages(ctx, w, info.Name); err != nil {
		return err
	}
	store, err := app.workshopStore()
	if err != nil {
		return err
	}
	run, err := app.workshopRun(store, w, info, opts.learners)
	if err != nil {
		return err
	}
	options, err := app.runningWorkshop(ctx, store, run)
	if err != nil {
		return err
	}
	if run.ClusterID, err = workshop.ClusterID(ctx, options.Kube); err != nil {
		return err
	}
	if err := store.Save(run); err != nil {
		return err
	}
	if err := app.workshopTools(ctx, store, run, info); err != nil {
		return err
	}
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	admin, err := manager.Kubeconfig(ctx, info.Name)
	if err != nil {
		return err
	}
	for _, l := range run.Learners {
		t, line := app.task("learner " + l.Name)
		if err := t.End(app.startLearner(ctx, run, l, []byte(admin), options, first, line), "namespace "+l.Namespace); err != nil {
			return err
		}
	}
	app.settle()
	return app.printStarted(w, run, options)
}

// printStarted says what to do next.
func (app *App) printStarted(w workshop.Workshop, run workshop.Run, options workshop.Options) error {
	fmt.Fprintf(app.Out, "%s: %d steps, on cluster %s\n", w.Title, len(w.Steps), run.Cluster)
	fmt.Fprintf(app.Out, "  the steps in the browser:\n    berth workshop serve\n")
	fmt.Fprintf(app.Out, "  in every terminal of the workshop, first:\n")
	for _, l := range run.Learners {
		s, err := workshop.NewSession(run, l.Name, options)
		if err != nil {
			return err
		}
		fmt.Fprintf(app.Out, "    %s\n", s.ShellLine())
	}
	return nil
}

// lintedWorkshop reads a workshop that has no faults.
func (app *App) lintedWorkshop(folder string) (workshop.Workshop, error) {
	w, err := workshop.Read(folder)
	if err != nil {
		return w, err
	}
	found, err := workshop.Lint(folder)
	if err != nil || len(found) == 0 {
		return w, err
	}
	var faults []error
	for _, f := range found {
		faults = append(faults, errors.New(f.String()))
	}
	return w, problem.New(fmt.Sprintf("workshop %q has faults", w.Name), errors.Join(faults...), "berth workshop lint "+folder)
}

// workshopClusterFor makes sure that the cluster runs and is large enough.
func (app *App) workshopClusterFor(ctx context.Context, w workshop.Workshop) (cluster.Info, error) {
	manager, err := app.clusters(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	info, err := manager.Status(ctx, app.clusterName())
	if err != nil {
		return info, err
	}
	need := w.Cluster.MinWorkers()
	if info.State != cluster.Running {
		spec := cluster.Spec{Name: app.clusterName()}
		if !info.Owned { // there is none, or what a creation left that was killed early
			spec.Workers = &need
		}
		if _, err := app.createWithCheckpoint(ctx, spec, true); err != nil {
			return info, err
		}
	}
	if info, err = manager.Status(ctx, app.clusterName()); err != nil {
		return info, err
	}
	workers := 0
	for _, n := range info.Nodes {
		if n.Role == "worker" {
			workers++
		}
	}
	if workers < need {
		return info, problem.New(fmt.Sprintf("workshop %q needs %d workers, cluster %q has %d", w.Name, need, info.Name, workers), nil,
			fmt.Sprintf("take another cluster: --cluster NAME, or delete this one first: berth cluster delete %s", info.Name))
	}
	if w.Cluster.Ingress && !ingress.Answers(ctx, info.HTTPPort()) {
		return info, problem.New(fmt.Sprintf("workshop %q needs an ingress controller, and none answers on 127.0.0.1:%d", w.Name, info.HTTPPort()), nil,
			"create a cluster without --ingress none")
	}
	return info, nil
}

// workshopImages builds and pulls what the workshop's pods run, and loads it
// into the nodes.
func (app *App) workshopImages(ctx context.Context, w workshop.Workshop, clusterName string) error {
	images, err := app.images(ctx)
	if err != nil {
		return err
	}
	refs := slices.Clone(w.Images)
	var wanted []image.Wanted
	for _, ref := range w.Images {
		wanted = append(wanted, image.Wanted{Ref: ref, Policy: model.PullMissing})
	}
	if _, err := images.EnsureAll(ctx, wanted, 0, app.sink()); err != nil {
		return err
	}
	for _, spec := range workshopBuilds(w) {
		if _, err := images.Build(ctx, spec, app.sink()); err != nil {
			if ctx.Err() != nil || !app.builtElsewhere(ctx, images, spec) {
				return err
			}
			progress.Say(app.sink(), progress.Warn, "build "+spec.Name, "what it starts from is not here; the image that is there is used as it is")
		}
		refs = append(refs, spec.Name)
	}
	if len(refs) == 0 {
		return nil
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	return loadNodes(ctx, engine, images, clusterName, image.LoadRequest{Refs: refs, Sink: app.sink()})
}

// builtElsewhere reports whether the engine holds an image, but not what it is
// built from: as a bundle made with --no-bases leaves it.
func (app *App) builtElsewhere(ctx context.Context, images *image.Images, spec model.BuildSpec) bool {
	engine, err := app.docker(ctx)
	if err != nil {
		return false
	}
	if _, held, err := engine.ImageInfo(ctx, spec.Name); err != nil || !held {
		return false
	}
	platform, err := images.Platform(ctx)
	if err != nil {
		return false
	}
	bases, known, err := image.Bases(spec, platform)
	return err == nil && known && slices.ContainsFunc(bases, func(ref string) bool {
		_, held, err := engine.ImageInfo(ctx, ref)
		return err == nil && !held
	})
}

// workshopRun is the run of a workshop: the one that goes on, or a new one. It is
// not saved yet.
func (app *App) workshopRun(store workshop.Store, w workshop.Workshop, info cluster.Info, learners int) (workshop.Run, error) {
	run, err := store.Load(w.Name)
	switch {
	case err != nil: // a new one
		run = workshop.NewRun(w, learners, rand.Text)
		run.Started = time.Now()
	case run.Dir != w.Dir || run.Cluster != info.Name || learners > 0 && learners != len(run.Learners):
		return run, problem.New(fmt.Sprintf("workshop %q is started already", w.Name),
			fmt.Errorf("from %s, on cluster %q, for %d learners", run.Dir, run.Cluster, len(run.Learners)), "end it first: berth workshop stop --workshop "+w.Name)
	}
	run.Cluster, run.HTTPPort = info.Name, info.HTTPPort()
	return run, nil
}

// startLearner gives a learner namespace, access and first step. One who has
// begun stays where he or she is.
func (app *App) startLearner(ctx context.Context, run workshop.Run, l workshop.Learner, admin []byte, options workshop.Options, first int, line func(string)) error {
	if err := workshop.Admit(ctx, run, l, admin, options); err != nil {
		return err
	}
	s, err := workshop.NewSession(run, l.Name, options)
	if err != nil {
		return err
	}
	return s.Enter(ctx, first, line)
}

// workshopTools fills the folder that stands first in PATH: this berth, and
// kubectl where the machine has none.
func (app *App) workshopTools(ctx context.Context, store workshop.Store, run workshop.Run, info cluster.Info) error {
	dir := store.Tools(run.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" { // where links are for administrators
		link := filepath.Join(dir, "berth")
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(self, link); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("kubectl"); err == nil {
		return nil
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" || arch != runtime.GOARCH {
		return problem.New("find kubectl, which the workshop's steps use", exec.ErrNotFound, "install it: https://kubernetes.io/docs/tasks/tools/")
	}
	binary, err := engine.ReadFile(ctx, info.Nodes[0].ID, "/usr/bin/kubectl") // the nodes have one
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "kubectl"), binary, 0o755)
}
