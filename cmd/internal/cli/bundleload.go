package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/doctor"
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
	if output == "" {
		output = r.Contents.Name
	}
	output = app.path(output)
	if err := app.fits(ctx, engine, images.Cache(), r, output); err != nil {
		return err
	}
	task := progress.Start(app.sink(), "read "+path, "reading it")
	packed, err := r.Blobs(ctx, images.Cache(), everySecond(task, r.Contents.Size))
	if err := task.End(err, fmt.Sprintf("%d images, all as they were made", len(packed))); err != nil {
		return err
	}
	// The files first: loading nodes may take from the cache what it has no more room for.
	if err := extractFiles(ctx, images.Cache(), r.Contents, output); err != nil {
		return err
	}
	if err := app.loadPacked(ctx, engine, images, packed); err != nil {
		return err
	}
	app.settle()
	fmt.Fprintln(app.Out, output)
	return nil
}

// fits refuses a bundle that the engine could not run, or that would not fit.
func (app *App) fits(ctx context.Context, engine *docker.Client, store *layout.Store, r *bundle.Reader, output string) error {
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	if err := runsOn(r.Contents, "linux/"+arch); err != nil {
		return err
	}
	packed, err := r.Images()
	if err != nil {
		return err
	}
	needs := []spaceNeed{{path: store.Dir(), bytes: r.Missing(store)}, {path: existing(output)}}
	for _, f := range r.Contents.Files {
		needs[1].bytes += max(f.Size, 0)
	}
	if engine.Local() { // it unpacks what it lacks once more
		host, err := engine.HostFacts(ctx)
		if err != nil {
			return err
		}
		bytes, err := engineLacks(ctx, engine, packed)
		if err != nil {
			return err
		}
		needs = append(needs, spaceNeed{path: host.StorageRoot, bytes: bytes})
	}
	return checkSpace(needs, doctor.FreeDisk, doctor.SameDisk)
}

// runsOn is a Problem when a bundle's images are not for the engine's platform.
func runsOn(c bundle.Contents, platform string) error {
	if platform == c.Platform {
		return nil
	}
	return problem.New("load the bundle", fmt.Errorf("its images are for %s, and the engine runs %s", c.Platform, platform),
		fmt.Sprintf("make one on a machine that runs %s: berth bundle create", platform))
}

// engineLacks is how many bytes of layers the engine will be given, each once.
func engineLacks(ctx context.Context, engine *docker.Client, packed []bundle.Packed) (int64, error) {
	layers := map[digest.Digest]int64{}
	for _, img := range packed {
		have, found, err := engine.InspectImage(ctx, img.Ref)
		if err != nil {
			return 0, err
		}
		if found && isSame(have, img) {
			continue
		}
		for _, l := range img.Manifest.Layers {
			layers[l.Digest] = max(l.Size, 0)
		}
	}
	var size int64
	for _, s := range layers {
		size += s
	}
	return size, nil
}

// A spaceNeed is how many bytes will be written below a path.
type spaceNeed struct {
	path  string
	bytes int64
}

// checkSpace is a Problem when a file system has less free than all that is to
// be written there. One that cannot be looked at is taken to be large enough.
func checkSpace(needs []spaceNeed, free func(string) (uint64, error), same func(a, b string) (bool, error)) error {
	for i, first := range needs {
		total := uint64(0)
		for j, n := range needs {
			if together, err := same(first.path, n.path); i == j || err == nil && together {
				total += uint64(n.bytes)
			}
		}
		have, err := free(first.path)
		if err == nil && have < total {
			return problem.New("load the bundle", fmt.Errorf("%d MB are free where %s is, and up to %d MB are needed", have>>20, first.path, total>>20),
				docker.FreeSpace)
		}
	}
	return nil
}

// existing is a path, or the nearest folder above it that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// extractFiles writes the bundle's files: the project into the folder, a
// workshop below it where there is a project too, berth into .berth/bin.
func extractFiles(ctx context.Context, store *layout.Store, c bundle.Contents, dir string) (err error) {
	folder, err := bundle.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	project := false
	for _, f := range c.Files {
		project = project || f.Kind == bundle.KindProject
	}
	for _, f := range c.Files {
		switch f.Kind {
		case bundle.KindProject:
			err = folder.Extract(ctx, store, f.Digest, ".")
		case bundle.KindWorkshop:
			target := "."
			if project {
				target = "workshop"
			}
			err = folder.Extract(ctx, store, f.Digest, target)
		case bundle.KindBerth:
			err = folder.Copy(ctx, store, f.Digest, filepath.Join(".berth", "bin", berthName(f.Platform)), 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// berthName is the name of a berth for a platform; this machine's is called
// berth.
func berthName(platform string) string {
	name := "berth-" + strings.ReplaceAll(platform, "/", "-")
	if platform == runtime.GOOS+"/"+runtime.GOARCH {
		name = "berth"
	}
	if strings.HasPrefix(platform, "windows/") {
		name += ".exe"
	}
	return name
}
