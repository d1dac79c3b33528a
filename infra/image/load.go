package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A LoadRequest says what to load where. Refs are images of the engine,
// Archived images that ReadArchive returned.
type LoadRequest struct {
	Refs     []string
	Archived []layout.NamedImage
	Nodes    []Node
	Platform string // os/arch[/variant] of images for several; "" for the engine's own
	Sink     progress.Sink
}

// A loadable is one image to load, wherever it comes from.
type loadable struct {
	title  string   // how the user calls it
	names  []string // full names the nodes are to know it by
	key    string   // of its content
	labels map[string]string
	// image describes the image and sees to it that the layout holds the
	// layers with the given indices.
	image func(ctx context.Context, layers map[int]bool) (layout.Image, error)
	// known is the image when it was described before.
	known *layout.Image
	// diffIDs are its layers when they are known before the image is.
	diffIDs []string
	// news are the layers that the image of this name before did not have.
	news map[int]bool
	// remember notes the image as the last of its name; nil for archives.
	remember func(layout.Image) error
}

// Load brings images of the engine to nodes; see LoadAll.
func (i *Images) Load(ctx context.Context, refs []string, nodes []Node, sink progress.Sink) ([]model.NodeLoad, error) {
	return i.LoadAll(ctx, LoadRequest{Refs: refs, Nodes: nodes, Sink: sink})
}

// LoadAll brings every image to every node, sending only layers the node
// lacks, all nodes at once. It returns one result per image and node, in the
// order asked for, also beside an error: a node that fails does not stop the
// others. Images that the engine does not hold are reported all together.
func (i *Images) LoadAll(ctx context.Context, r LoadRequest) ([]model.NodeLoad, error) {
	if len(r.Nodes) == 0 {
		return nil, errors.New("there is no node to load images onto")
	}
	start := time.Now()
	ready := i.getReady(ctx, r)
	defer ready.Wait()
	items, platform, err := i.loadables(ctx, r)
	if err != nil {
		return nil, err
	}
	results := make([][]model.NodeLoad, len(items))
	inParallel(len(items), 4, func(n int) {
		results[n] = i.loadOne(ctx, items[n], r, platform, start)
	})
	all := slices.Concat(results...)
	errs := []error{context.Cause(ctx)}
	if ctx.Err() == nil {
		errs = append(errs, i.cache.Prune(i.limit, time.Now()))
		for _, l := range all {
			if l.Err != nil {
				errs = append(errs, loadProblem(l))
			}
		}
	}
	return all, errors.Join(errs...)
}

// getReady starts what takes its time while the images are looked up. What
// fails here is asked again, and then reported.
func (i *Images) getReady(ctx context.Context, r LoadRequest) *sync.WaitGroup {
	var running sync.WaitGroup
	for _, n := range r.Nodes {
		running.Go(func() { _, _ = i.seen(n).ask(ctx, n, func(map[digest.Digest]bool, time.Time) bool { return true }) })
	}
	if len(r.Refs) > 0 {
		running.Go(func() { _, _ = i.containerdStore(ctx) })
	}
	return &running
}

// Platform is the engine's own, as os/arch.
func (i *Images) Platform(ctx context.Context) (string, error) { return i.loadPlatform(ctx, "") }

// RunsOn reports whether a node of one platform runs images for another.
func RunsOn(image, node string) (bool, error) {
	wanted, err := platforms.Parse(image)
	if err != nil {
		return false, err
	}
	has, err := platforms.Parse(node)
	return err == nil && platforms.Only(has).Match(wanted), err
}

func (i *Images) loadPlatform(ctx context.Context, asked string) (string, error) {
	if asked != "" {
		p, err := platforms.Parse(asked)
		if err != nil {
			return "", problem.New(fmt.Sprintf("platform %q", asked), err, "write OS/ARCH, for example linux/arm64")
		}
		return platforms.Format(platforms.Normalize(p)), nil
	}
	i.mu.Lock()
	own := i.own
	i.mu.Unlock()
	if own != "" {
		return own, nil
	}
	arch, err := i.engine.Arch(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the engine for its architecture: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.own = "linux/" + arch
	return i.own, nil
}

// loadables looks every image up, for the platform that it returns, and reports
// all that are missing.
func (i *Images) loadables(ctx context.Context, r LoadRequest) (items []loadable, platform string, err error) {
	type answer struct {
		img   docker.Image
		found bool
		err   error
	}
	answers := make([]answer, len(r.Refs))
	inParallel(len(r.Refs)+1, 8, func(n int) {
		if n == len(r.Refs) {
			platform, err = i.loadPlatform(ctx, r.Platform)
			return
		}
		answers[n].img, answers[n].found, answers[n].err = i.engine.InspectImage(ctx, r.Refs[n])
	})
	if err != nil {
		return nil, "", err
	}
	var missing []string
	for n, ref := range r.Refs {
		if answers[n].err != nil {
			return nil, "", answers[n].err
		}
		if !answers[n].found {
			missing = append(missing, ref)
			continue
		}
		item, err := i.fromEngine(ref, answers[n].img, platform)
		if err != nil {
			return nil, "", err
		}
		items = append(items, item)
	}
	if len(missing) > 0 {
		return nil, "", missingImages(missing, nil)
	}
	archived, err := fromArchives(r.Archived)
	return append(items, archived...), platform, err
}

func fromArchives(archived []layout.NamedImage) (items []loadable, err error) {
	for _, a := range archived {
		names, err := fullNames(a.Names)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, problem.New(fmt.Sprintf("image %s of the archive has no name", shortID(a.Digest().String())), nil,
				"save it by name: `docker save NAME:TAG`")
		}
		items = append(items, loadable{
			title: familiar(names[0]), names: names, key: a.Digest().String(), known: &a.Image,
			image: func(context.Context, map[int]bool) (layout.Image, error) { return a.Image, nil },
		})
	}
	return items, nil
}

func (i *Images) fromEngine(ref string, img docker.Image, platform string) (loadable, error) {
	item := loadable{title: ref, key: imageKey(img.Facts.ID, platform), labels: nodeLabels(img)}
	given := []string{ref}
	if isID(ref) || len(img.Tags) > 0 && shortID(img.Facts.ID) == ref {
		given = img.Tags
	}
	var err error
	if item.names, err = fullNames(given); err != nil {
		return item, err
	}
	if len(item.names) == 0 {
		return item, problem.New(fmt.Sprintf("image %q has no name that pods could use", ref), nil,
			fmt.Sprintf("docker tag %s NAME:TAG", shortID(img.Facts.ID)))
	}
	if known, ok := i.cache.GetImage(item.key); ok {
		item.known = &known
	}
	if img.Platform() == platform {
		item.diffIDs = img.DiffIDs
	}
	item.image = func(ctx context.Context, layers map[int]bool) (layout.Image, error) {
		return i.export(ctx, want{img: img, platform: platform, layers: layers})
	}
	last := "last-" + imageKey(repository(item.names[0]), platform)
	before, ok := i.cache.GetImage(last)
	if ok {
		item.news = newLayers(item.diffIDs, before)
	}
	item.remember = func(img layout.Image) error {
		if ok && img.Digest() == before.Digest() {
			return nil
		}
		return i.cache.PutImage(last, img)
	}
	return item, nil
}

// newLayers are the indices of the layers that before does not have.
func newLayers(diffIDs []string, before layout.Image) map[int]bool {
	known := digestStrings(before.DiffIDs)
	news := map[int]bool{}
	for n, d := range diffIDs {
		if !slices.Contains(known, d) {
			news[n] = true
		}
	}
	return news
}

// ownedByBerth reports whether berth built an image with these labels, or one
// that it was made FROM.
func ownedByBerth(labels map[string]string) bool {
	return labels[model.LabelManagedBy] == model.ManagedBy
}

// nodeLabels mark, on the node, what berth built for a project: only that may
// be pruned there.
func nodeLabels(img docker.Image) map[string]string {
	labels := img.Facts.Labels
	if !ownedByBerth(labels) || labels[model.LabelProject] == "" || !ownBuild(img.Facts.ID, img.Tags) {
		return nil
	}
	return map[string]string{labelNodeProject: labels[model.LabelProject], labelNodeLoaded: fmt.Sprint(time.Now().Unix())}
}

func loadProblem(l model.NodeLoad) error {
	return problem.New(fmt.Sprintf("load image %q onto node %q", l.Image, l.Node), l.Err, loadHint(l.Err))
}

// ReadArchive reads the images of an archive: a file of `docker save` or an
// OCI layout in a tar file, plain or compressed, or a layout's folder. platform
// chooses from images for several, "" for the engine's own.
func (i *Images) ReadArchive(ctx context.Context, path, platform string) ([]layout.NamedImage, error) {
	if layout.IsLayout(path) {
		opts, err := i.readOptions(ctx, platform)
		if err != nil {
			return nil, err
		}
		return i.cache.ReadDir(ctx, path, opts)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, problem.New(fmt.Sprintf("image archive %q", path), err, archiveHint)
	}
	defer f.Close()
	images, err := i.ReadStream(ctx, f, platform)
	if err != nil {
		return nil, fmt.Errorf("image archive %q: %w", path, err)
	}
	return images, nil
}

const archiveHint = "`docker save NAME:TAG -o FILE` writes one; an image of the engine is loaded by its name"

// ReadStream is ReadArchive for a stream.
func (i *Images) ReadStream(ctx context.Context, r io.Reader, platform string) ([]layout.NamedImage, error) {
	opts, err := i.readOptions(ctx, platform)
	if err != nil {
		return nil, err
	}
	return i.cache.ReadArchive(ctx, r, opts)
}

func (i *Images) readOptions(ctx context.Context, platform string) (layout.ReadOptions, error) {
	p, err := i.loadPlatform(ctx, platform)
	return layout.ReadOptions{Platform: p}, err
}
