package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/bundle"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/doctor"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/ingress"
	"github.com/berth-dev/berth/infra/metrics"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/workshop"
	"github.com/berth-dev/berth/translate"
)

type bundleOptions struct {
	workshop  string
	output    string
	key       string
	nodeImage string
	berths    []string
	noBases   bool
}

func newBundleCreateCommand(app *App) *cobra.Command {
	var opts bundleOptions
	cmd := &cobra.Command{
		Use:   "create -o FILE",
		Short: "Pack the project, a workshop, and all they need",
		Long: `Build or pull the images of the project (-f compose.yaml) and of a workshop, and
pack them with the node image, the ingress controller, the base images of their
Dockerfiles, their files and this berth into one file.`,
		Example: `  berth -f compose.yaml bundle create -o shop.berth
  berth bundle create --workshop my-workshop -o workshop.berth --key minisign.key`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.output == "" {
				return misuse("name the file to make", nil, "berth bundle create -o NAME.berth")
			}
			return app.createBundle(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&opts.output, "output", "o", "", "`file` to make")
	flags.StringVar(&opts.workshop, "workshop", "", "`folder` of a workshop to pack too")
	flags.StringVar(&opts.key, "key", "", "minisign secret key `file` to sign with; BERTH_SIGN_PASSWORD is its password")
	flags.StringVar(&opts.nodeImage, "node-image", "", "kind node `image` (default: the offline kit's)")
	flags.StringArrayVar(&opts.berths, "berth", nil, "a berth for another platform, `OS/ARCH=FILE`; may be repeated")
	flags.BoolVar(&opts.noBases, "no-bases", false, "leave out the base images of Dockerfiles: nothing can be built from the bundle then")
	return cmd
}

func (app *App) createBundle(ctx context.Context, opts bundleOptions) error {
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	images, err := app.images(ctx)
	if err != nil {
		return err
	}
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	b := &bundler{app: app, ctx: ctx, images: images, store: images.Cache(), refs: map[string]bundle.Use{}, platform: "linux/" + arch, output: app.path(opts.output)}
	b.plan.Contents = bundle.Contents{Created: time.Now().UTC(), Berth: version, Platform: b.platform}
	if opts.key != "" {
		if b.plan.Sign, err = bundle.Signer(app.path(opts.key), app.Getenv("BERTH_SIGN_PASSWORD")); err != nil {
			return err
		}
	}
	if err := b.gather(engine, opts); err != nil {
		return err
	}
	task := progress.Start(app.sink(), "bundle", "packing")
	path, size := b.output, sizeOf(b.plan)
	if free, err := doctor.FreeDisk(existing(filepath.Dir(path))); err == nil && free < uint64(size/2) {
		return task.End(problem.New("write "+path, fmt.Errorf("%d MB are free, and about %d MB are needed", free>>20, size>>21), "free some, or choose another place"), "")
	}
	var contents bundle.Contents
	show := everySecond(task, size)
	b.plan.Progress = func(done, _ int64) { show(done) }
	err = writeWhole(ctx, path, func(w io.Writer) error {
		contents, err = bundle.Write(ctx, w, b.plan, b.store)
		return err
	})
	if err != nil {
		return task.End(problem.New("write "+path, err, "check the disk, then run the command again"), "")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	task.Done(fmt.Sprintf("%s: %s, of %s", opts.output, sizeText(info.Size()), sizeText(contents.Size)))
	return nil
}

// sizeOf is how many bytes of layers and files a bundle is to hold, each once.
func sizeOf(p bundle.Plan) int64 {
	blobs := map[digest.Digest]int64{}
	for _, img := range p.Images {
		for _, l := range img.Manifest.Layers {
			blobs[l.Digest] = l.Size
		}
	}
	for _, f := range p.Contents.Files {
		blobs[f.Digest] = f.Size
	}
	var size int64
	for _, s := range blobs {
		size += s
	}
	return size
}

// A bundler gathers what goes into a bundle.
type bundler struct {
	app      *App
	ctx      context.Context
	images   *image.Images
	store    *layout.Store
	platform string
	output   string // the file to make
	refs     map[string]bundle.Use
	order    []string
	plan     bundle.Plan

	autoscales bool // the project asks for autoscalers
}

func (b *bundler) gather(engine *docker.Client, opts bundleOptions) error {
	if opts.workshop == "" || len(b.app.global.files) > 0 {
		if err := b.project(opts.noBases); err != nil {
			return err
		}
	}
	if opts.workshop != "" {
		if err := b.workshop(b.app.path(opts.workshop), opts.noBases); err != nil {
			return err
		}
	}
	// Last: the project's x-berth says what cluster it wants.
	if err := b.cluster(engine, opts.nodeImage, b.app.hints); err != nil {
		return err
	}
	for _, ref := range b.order {
		task := progress.Start(b.app.sink(), "image "+ref, "reading it from the engine")
		img, err := b.images.Fetch(b.ctx, ref, b.platform)
		if err := task.End(err, ""); err != nil {
			return err
		}
		full, err := image.FullName(ref)
		if err != nil {
			return err
		}
		b.plan.Images = append(b.plan.Images, bundle.Packed{Image: img, Ref: full, Use: b.refs[ref]})
	}
	return b.berths(opts.berths)
}

// add wants an image in the bundle; the first use counts.
func (b *bundler) add(ref string, use bundle.Use) {
	if _, known := b.refs[ref]; !known && ref != "" {
		b.refs[ref] = use
		b.order = append(b.order, ref)
	}
}

// ensure pulls what the engine lacks.
func (b *bundler) ensure(refs ...string) error {
	var wanted []image.Wanted
	for _, ref := range refs {
		wanted = append(wanted, image.Wanted{Ref: ref, Policy: model.PullMissing})
	}
	_, err := b.images.EnsureAll(b.ctx, wanted, 0, b.app.sink())
	return err
}

// cluster adds what the cluster that the project asks for is made of.
func (b *bundler) cluster(engine *docker.Client, nodeImage string, hints translate.ClusterHints) error {
	if nodeImage == "" {
		manager, err := b.app.clusters(b.ctx)
		if err != nil {
			return err
		}
		kubernetes := hints.Version
		if kubernetes != "" {
			kubernetes = "v" + strings.TrimPrefix(kubernetes, "v")
		}
		if nodeImage, _, err = manager.NodeImage(b.ctx, kubernetes); err != nil {
			return err
		}
	}
	if err := b.ensure(nodeImage); err != nil {
		return err
	}
	b.add(nodeImage, bundle.UseNode)
	return b.addons(engine, nodeImage, hints)
}

// addons adds the images of the cluster's own parts that the node image does
// not bring along.
func (b *bundler) addons(engine *docker.Client, nodeImage string, hints translate.ClusterHints) error {
	onNode, err := addon.ImagesOf(b.ctx, engine, nodeImage)
	if err != nil {
		return err
	}
	controller, err := ingress.Choose(b.ctx, engine, ingress.Kind(hints.Ingress), nodeImage)
	if err != nil {
		return err
	}
	needs := map[bundle.Use]string{bundle.UseIngress: controller.Image}
	if b.autoscales {
		if needs[bundle.UseMetrics], err = metrics.ImageFor(b.ctx, engine, nodeImage); err != nil {
			return err
		}
	}
	for _, use := range []bundle.Use{bundle.UseIngress, bundle.UseMetrics} {
		ref := needs[use]
		if ref == "" || slices.Contains(onNode, ref) {
			continue
		}
		if err := b.ensure(ref); err != nil {
			return err
		}
		b.add(ref, use)
	}
	return nil
}

// project builds and pulls the project's images, and adds them and its files.
func (b *bundler) project(noBases bool) error {
	p, err := b.app.projectImages(b.ctx, nil, false)
	if err != nil {
		return err
	}
	input, source, err := b.app.readProject(b.ctx, nil)
	if err != nil {
		return err
	}
	specs, err := p.builds()
	if err != nil {
		return err
	}
	built, err := b.images.BuildAll(b.ctx, withoutAttestations(specs), p.parallel, b.app.sink())
	if err != nil {
		return err
	}
	var pulled []string
	for _, img := range p.all {
		if img.Build == nil {
			pulled = append(pulled, img.Ref)
		}
	}
	if err := b.ensure(pulled...); err != nil {
		return err
	}
	for _, spec := range specs {
		b.add(spec.Name, bundle.UseProject)
		b.add(built[spec.Name].Ref, bundle.UseProject)
		if !noBases {
			if err := b.bases(spec); err != nil {
				return err
			}
		}
	}
	for _, ref := range pulled {
		b.add(ref, bundle.UseProject)
	}
	b.plan.Contents.Name = p.input.Project.Name
	b.autoscales = p.autoscales
	if out := outsideFiles(input, source.Dir); len(out) > 0 {
		progress.Say(b.app.sink(), progress.Warn, "bundle", fmt.Sprintf("left out, since outside of the project's folder %s: %s", source.Dir, strings.Join(out, ", ")))
	}
	instead, err := pinnedName(source, p.input.Project.Name)
	if err != nil {
		return err
	}
	return b.folder(bundle.KindProject, source.Dir, instead)
}

// workshop does the same for a workshop.
func (b *bundler) workshop(dir string, noBases bool) error {
	w, err := b.app.lintedWorkshop(dir)
	if err != nil {
		return err
	}
	if err := b.ensure(w.Images...); err != nil {
		return err
	}
	for _, ref := range w.Images {
		b.add(ref, bundle.UseProject)
	}
	for _, spec := range workshopBuilds(w) {
		if _, err := b.images.Build(b.ctx, spec, b.app.sink()); err != nil {
			return err
		}
		b.add(spec.Name, bundle.UseProject)
		if !noBases {
			if err := b.bases(spec); err != nil {
				return err
			}
		}
	}
	if b.plan.Contents.Name == "" {
		b.plan.Contents.Name = w.Name
	}
	return b.folder(bundle.KindWorkshop, w.Dir, nil)
}

// workshopBuilds are the builds of a workshop as the engine is asked for them.
func workshopBuilds(w workshop.Workshop) []model.BuildSpec {
	var specs []model.BuildSpec
	for _, b := range w.Builds {
		specs = append(specs, model.BuildSpec{Name: b.Image, Tags: []string{b.Image}, Context: filepath.Join(w.Dir, b.Dir), Args: b.Args})
	}
	return specs
}

func (b *bundler) folder(kind bundle.Kind, dir string, instead map[string][]byte) error {
	file, err := bundle.AddFolder(b.ctx, b.store, kind, dir, []string{b.output}, instead)
	b.plan.Contents.Files = append(b.plan.Contents.Files, file)
	return err
}

// bases adds the images that a build starts from.
func (b *bundler) bases(spec model.BuildSpec) error {
	refs, known, err := image.Bases(spec, b.platform)
	if err != nil {
		return err
	}
	if !known {
		progress.Say(b.app.sink(), progress.Warn, "bundle", fmt.Sprintf("the build of %s is elsewhere, and what it starts from is left out", spec.Name))
	}
	if err := b.ensure(refs...); err != nil {
		return err
	}
	for _, ref := range refs {
		b.add(ref, bundle.UseBase)
	}
	return nil
}

// berths adds this berth, and those for other platforms.
func (b *bundler) berths(others []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	all := append([]string{runtime.GOOS + "/" + runtime.GOARCH + "=" + self}, others...)
	for _, text := range all {
		platform, path, ok := strings.Cut(text, "=")
		if !ok || strings.Count(platform, "/") != 1 {
			return misuse(fmt.Sprintf("--berth %q", text), errors.New("it is not OS/ARCH=FILE"), "for example --berth darwin/arm64=dist/berth")
		}
		file, err := bundle.AddBinary(b.store, b.app.path(path), platform)
		if err != nil {
			return err
		}
		b.plan.Contents.Files = append(b.plan.Contents.Files, file)
	}
	return nil
}
