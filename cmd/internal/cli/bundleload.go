package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/doctor"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func newBundleLoadCommand(app *App) *cobra.Command {
	var key, output string
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Load a bundle into the engine and, where the cluster runs, its nodes",
		Long: `Check a bundle and load it, without any network: the images into the engine and
the nodes, the files into a folder. What is there already is not loaded again,
so an interrupted load goes on where it was. Then ` + "`berth up --no-build`" + ` in that
folder starts the project.`,
		Args: oneBundle,
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.loadBundle(cmd.Context(), args[0], key, output)
		},
	}
	cmd.Flags().StringVar(&key, "public-key", "", "minisign public `key`, or its file: the bundle must be signed with it")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`folder` for the files (default: the bundle's name)")
	return cmd
}

func (app *App) loadBundle(ctx context.Context, path, key, output string) error {
	r, f, err := app.openBundle(path)
	if err != nil {
		return err
	}
	defer f.Close()
	defer r.Close()
	if err := checkSignature(r, key); err != nil {
		return err
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	images, err := app.images(ctx)
	if err != nil {
		return err
	}
	if err := app.fits(ctx, engine, images.Cache(), r.Contents); err != nil {
		return err
	}
	task := progress.Start(app.sink(), "read "+path, "")
	packed, err := r.Blobs(ctx, images.Cache(), everySecond(task, r.Contents.Size))
	if err := task.End(err, fmt.Sprintf("%d images, all as they were made", len(packed))); err != nil {
		return err
	}
	for _, img := range packed {
		if err := app.loadPacked(ctx, engine, images.Cache(), img); err != nil {
			return err
		}
	}
	if err := app.loadPackedNodes(ctx, engine, images, packed); err != nil {
		return err
	}
	if output == "" {
		output = r.Contents.Name
	}
	if err := app.extractFiles(ctx, images.Cache(), r.Contents, app.path(output)); err != nil {
		return err
	}
	app.settle()
	fmt.Fprintln(app.Out, app.path(output))
	return nil
}

// fits refuses a bundle that the engine could not run, or that would not fit.
func (app *App) fits(ctx context.Context, engine *docker.Client, store *layout.Store, c bundle.Contents) error {
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	if platform := "linux/" + arch; platform != c.Platform {
		return problem.New("load the bundle", fmt.Errorf("its images are for %s, and the engine runs %s", c.Platform, platform),
			"make one on a machine of that kind: berth bundle create")
	}
	free, err := doctor.FreeDisk(store.Dir())
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	need := uint64(c.Size)
	if engine.Local() { // the engine unpacks it once more
		need *= 2
	}
	if free < need {
		return problem.New("load the bundle", fmt.Errorf("%d MB are free where %s is, and up to %d MB are needed", free>>20, store.Dir(), need>>20),
			"free some: docker system prune")
	}
	return nil
}

// loadPacked gives the engine an image that it does not have yet.
func (app *App) loadPacked(ctx context.Context, engine *docker.Client, store *layout.Store, img bundle.Packed) (err error) {
	task := progress.Start(app.sink(), "load "+img.Ref, "into the engine")
	defer func() { err = task.End(err, "") }()
	have, found, err := engine.InspectImage(ctx, img.Ref)
	if err != nil {
		return err
	}
	// The engine's ID is the digest of the manifest, or of the config, as it keeps images.
	if found && (have.Facts.ID == img.Digest().String() || have.Facts.ID == img.Manifest.Config.Digest.String()) {
		task.Done("the engine has it")
		return nil
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(bundle.WriteArchive(ctx, pw, img, store)) }()
	if err := errors.Join(engine.LoadArchive(ctx, pr), pr.Close()); err != nil {
		return problem.New(fmt.Sprintf("load image %q into the engine", img.Ref), err, "check the engine's disk, then run the command again: it goes on where it was")
	}
	return nil
}

// loadPackedNodes loads what pods run into the nodes, where the cluster runs.
func (app *App) loadPackedNodes(ctx context.Context, engine *docker.Client, images *image.Images, packed []bundle.Packed) error {
	manager, err := app.clusters(ctx)
	if err != nil {
		return err
	}
	info, err := manager.Status(ctx, app.clusterName())
	if err != nil || info.State != cluster.Running {
		return err
	}
	found, err := image.NodesOf(ctx, engine, info.Name)
	if err != nil {
		return err
	}
	request := image.LoadRequest{Sink: app.sink()}
	for _, n := range found {
		defer n.Close()
		request.Nodes = append(request.Nodes, n)
	}
	for _, img := range packed {
		if img.Use == bundle.UseProject || img.Use == bundle.UseIngress {
			request.Archived = append(request.Archived, layout.NamedImage{Image: img.Image, Names: []string{img.Ref}})
		}
	}
	loads, err := images.LoadAll(ctx, request)
	for _, l := range loads {
		err = errors.Join(err, l.Err)
	}
	return err
}

// extractFiles writes the bundle's files: the project into the folder, a
// workshop below it where there is a project too, berth into .berth/bin.
func (app *App) extractFiles(ctx context.Context, store *layout.Store, c bundle.Contents, dir string) error {
	project := false
	for _, f := range c.Files {
		project = project || f.Kind == bundle.KindProject
	}
	for _, f := range c.Files {
		var err error
		switch f.Kind {
		case bundle.KindProject:
			err = bundle.Extract(ctx, store, f.Digest, dir)
		case bundle.KindWorkshop:
			target := dir
			if project {
				target = filepath.Join(dir, "workshop")
			}
			err = bundle.Extract(ctx, store, f.Digest, target)
		case bundle.KindBerth:
			err = extractBerth(ctx, store, f, filepath.Join(dir, ".berth", "bin"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// extractBerth writes a berth for one platform; this machine's is called berth.
func extractBerth(ctx context.Context, store *layout.Store, f bundle.File, dir string) error {
	name := "berth-" + strings.ReplaceAll(f.Platform, "/", "-")
	if f.Platform == runtime.GOOS+"/"+runtime.GOARCH {
		name = "berth"
	}
	if strings.HasPrefix(f.Platform, "windows/") {
		name += ".exe"
	}
	if !filepath.IsLocal(name) {
		return problem.New("read the bundle", fmt.Errorf("platform %q is none", f.Platform), "")
	}
	in, err := store.OpenBlob(f.Digest)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeWhole(ctx, filepath.Join(dir, name), 0o755, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
