package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
)

// imageKey is where the layout remembers an image of an engine: IDs are
// digests, so engines cannot confuse each other.
func imageKey(id, platform string) string { return id + "_" + platform }

// ociExport is a BuildKit export into the layout, which leaves out layers that
// are there or that skip reports.
func (i *Images) ociExport(skip func(digest.Digest) bool) bkclient.ExportEntry {
	return bkclient.ExportEntry{
		Type:        "oci",
		Attrs:       map[string]string{"tar": "false", "oci-mediatypes": "true", "compression": "uncompressed"},
		OutputStore: i.cache.Content(skip),
	}
}

// fromLayout reads an image whose manifest and config are in the layout.
func (i *Images) fromLayout(manifest digest.Digest) (layout.Image, error) {
	raw, err := i.cache.ReadBlob(manifest)
	if err != nil {
		return layout.Image{}, err
	}
	return i.cache.Parse(raw)
}

// A want is an image to take out of the engine: for one platform, and of its
// layers at least those whose index is in layers.
type want struct {
	img      docker.Image
	platform string // the nodes'
	layers   map[int]bool
}

// skip reports layers that nobody wants, as far as they can be told by blob
// digest: an uncompressed layer's is its diff ID.
func (w want) skip(d digest.Digest) bool {
	known := false
	for n, diffID := range w.img.DiffIDs {
		if diffID == d.String() {
			if w.layers[n] {
				return false
			}
			known = true
		}
	}
	return known
}

// satisfied reports whether the layout holds every layer that is wanted, and
// has it keep them.
func (w want) satisfied(cache *layout.Store, img layout.Image) bool {
	for n, l := range img.Manifest.Layers {
		if w.layers[n] && !cache.Keep(l.Digest) {
			return false
		}
	}
	return true
}

// export describes an image of the engine and sees to it that the layout holds
// the layers that are wanted. Asked again for what it has, it reads one file.
func (i *Images) export(ctx context.Context, w want) (layout.Image, error) {
	key := imageKey(w.img.Facts.ID, w.platform)
	if img, ok := i.cache.GetImage(key); ok && w.satisfied(i.cache, img) {
		return img, nil
	}
	img, err := i.fetch(ctx, w)
	if err != nil {
		return layout.Image{}, err
	}
	if err := w.checkPlatform(img); err != nil {
		return layout.Image{}, err
	}
	return img, i.cache.PutImage(key, img)
}

// checkPlatform refuses an image that the nodes could not run: an engine may
// hold just one of another platform, and hands it out all the same.
func (w want) checkPlatform(img layout.Image) error {
	p, err := platforms.Parse(w.platform)
	if err != nil {
		return err
	}
	if img.Platform.OS == "" || platforms.Only(p).Match(img.Platform) {
		return nil
	}
	return problem.New(fmt.Sprintf("the image is for %s, not for %s", img.PlatformString(), w.platform), nil,
		fmt.Sprintf("pull or build it for %s, or choose what there is with --platform", w.platform))
}

func (i *Images) fetch(ctx context.Context, w want) (layout.Image, error) {
	containerd, err := i.containerdStore(ctx)
	if err != nil {
		return layout.Image{}, err
	}
	if containerd && len(w.img.Tags) > 0 {
		img, err := i.fetchBuildKit(ctx, w)
		if err == nil || ctx.Err() != nil {
			return img, err
		}
		// The engine's own way is slower and always there.
		img, saveErr := i.fetchSaved(ctx, w)
		if saveErr != nil {
			return layout.Image{}, errors.Join(saveErr, err)
		}
		return img, nil
	}
	return i.fetchSaved(ctx, w)
}

// fetchBuildKit has BuildKit export the image as if it were the result of a
// build: only blobs that are missing in the layout are transferred.
func (i *Images) fetchBuildKit(ctx context.Context, w want) (layout.Image, error) {
	client, err := i.dialBuildKit(ctx)
	if err != nil {
		return layout.Image{}, err
	}
	defer client.Close()
	name, err := FullName(w.img.Tags[0])
	if err != nil {
		return layout.Image{}, err
	}
	platform, err := platforms.Parse(w.platform)
	if err != nil {
		return layout.Image{}, err
	}
	opt := bkclient.SolveOpt{
		Exports:  []bkclient.ExportEntry{i.ociExport(w.skip)},
		Internal: true, // no build of the user's: it does not belong into the engine's history of builds
	}
	r, err := client.Build(ctx, opt, "", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		_, _, config, err := g.ResolveImageConfig(ctx, name, sourceresolver.Opt{
			ImageOpt: &sourceresolver.ResolveImageOpt{Platform: &platform, ResolveMode: "local"},
		})
		if err != nil {
			return nil, err
		}
		def, err := llb.Image(name, llb.ResolveModePreferLocal, llb.Platform(platform)).Marshal(ctx)
		if err != nil {
			return nil, err
		}
		result, err := g.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
		if err != nil {
			return nil, err
		}
		result.AddMeta(exptypes.ExporterImageConfigKey, config)
		return result, nil
	}, nil)
	if err != nil {
		return layout.Image{}, err
	}
	img, err := i.fromLayout(digest.Digest(r.ExporterResponse[exptypes.ExporterImageDigestKey]))
	if err != nil {
		return layout.Image{}, fmt.Errorf("read BuildKit's export of image %q: %w", name, err)
	}
	if w.platform == w.img.Platform() && !slices.Equal(digestStrings(img.DiffIDs), w.img.DiffIDs) {
		return layout.Image{}, fmt.Errorf("image %q changed while it was exported", name)
	}
	return img, nil
}

// fetchSaved filters the stream of `docker save`.
func (i *Images) fetchSaved(ctx context.Context, w want) (layout.Image, error) {
	ref := w.img.Facts.ID
	stream, err := i.engine.SaveImages(ctx, []string{ref}, w.platform)
	if err != nil {
		return layout.Image{}, err
	}
	defer stream.Close()
	images, err := i.cache.ReadArchive(ctx, stream, layout.ReadOptions{Platform: w.platform, Skip: w.skip})
	if err != nil {
		return layout.Image{}, fmt.Errorf("save image %q: %w", w.img.Facts.Ref, err)
	}
	return images[0].Image, nil
}

func digestStrings(list []digest.Digest) []string {
	out := make([]string, 0, len(list))
	for _, d := range list {
		out = append(out, d.String())
	}
	return out
}

// shortID is an ID as docker prints it.
func shortID(id string) string {
	_, encoded, found := strings.Cut(id, ":")
	if !found {
		encoded = id
	}
	return encoded[:min(12, len(encoded))]
}
