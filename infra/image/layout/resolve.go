package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/problem"
)

// images makes the images of an archive that was read to its end. An OCI index
// is preferred to Docker's manifest.json where both stand in it; the latter
// then only adds names.
func (a *archive) images() ([]NamedImage, error) {
	dockerEntries, err := a.dockerManifest()
	if err != nil {
		return nil, err
	}
	var images []NamedImage
	switch {
	case a.meta[ocispec.ImageIndexFile] != nil:
		if images, err = a.fromIndex(a.meta[ocispec.ImageIndexFile]); err != nil {
			return nil, err
		}
		addDockerNames(images, dockerEntries)
	case dockerEntries != nil:
		if images, err = a.fromDocker(dockerEntries); err != nil {
			return nil, err
		}
	default:
		return nil, problem.New("not an image archive", errors.New("it has neither index.json nor manifest.json"), "`docker save NAME:TAG -o FILE` writes one")
	}
	if len(images) == 0 {
		return nil, problem.New("the image archive holds no image", nil, "`docker save NAME:TAG -o FILE` writes one")
	}
	return images, nil
}

// dockerEntry is one image in Docker's manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (a *archive) dockerManifest() ([]dockerEntry, error) {
	raw := a.meta["manifest.json"]
	if raw == nil {
		return nil, nil
	}
	var entries []dockerEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	return entries, nil
}

func (a *archive) fromDocker(entries []dockerEntry) ([]NamedImage, error) {
	var images []NamedImage
	for _, e := range entries {
		config := a.meta[path.Clean("/" + e.Config)[1:]]
		if config == nil {
			return nil, fmt.Errorf("the image archive lacks the config %q", e.Config)
		}
		layers := make([]Layer, 0, len(e.Layers))
		for _, name := range e.Layers {
			l, ok := a.layer(name)
			if !ok {
				return nil, fmt.Errorf("the image archive lacks the layer %q", name)
			}
			layers = append(layers, l)
		}
		img, err := NewImage(config, layers)
		if err != nil {
			return nil, err
		}
		for i, l := range layers {
			if l.MediaType == ocispec.MediaTypeImageLayer && l.Digest != img.DiffIDs[i] {
				return nil, fmt.Errorf("layer %q has digest %s, but the config names %s", e.Layers[i], l.Digest, img.DiffIDs[i])
			}
		}
		if err := a.checkPlatform(img); err != nil {
			return nil, err
		}
		images = append(images, NamedImage{Image: img, Names: e.RepoTags})
	}
	return images, nil
}

// addDockerNames gives images that the index leaves without a usable name the
// names of manifest.json.
func addDockerNames(images []NamedImage, entries []dockerEntry) {
	for i := range images {
		for _, e := range entries {
			if strings.Contains(e.Config, images[i].Manifest.Config.Digest.Encoded()) && len(e.RepoTags) > 0 {
				images[i].Names = e.RepoTags
			}
		}
	}
}

func (a *archive) fromIndex(raw []byte) ([]NamedImage, error) {
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var images []NamedImage
	var named []ocispec.Descriptor
	for _, d := range index.Manifests {
		if !attestation(d) {
			named = append(named, d)
		}
	}
	if several := platformsOf(named); several {
		// The index itself is one image for several platforms.
		img, err := a.choose(named)
		if err != nil {
			return nil, err
		}
		return []NamedImage{{Image: img, Names: namesOf(named[0])}}, nil
	}
	for _, d := range named {
		img, err := a.resolve(d, 0)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(images, func(n NamedImage) bool { return n.Digest() == img.Digest() })
		if at < 0 {
			images = append(images, NamedImage{Image: img})
			at = len(images) - 1
		}
		images[at].Names = append(images[at].Names, namesOf(d)...)
	}
	return images, nil
}

// platformsOf reports whether descriptors without names of their own differ in
// their platforms.
func platformsOf(list []ocispec.Descriptor) bool {
	seen := map[string]bool{}
	for _, d := range list {
		if d.Platform == nil || d.Annotations[nameAnnotation] != "" {
			return false
		}
		seen[platforms.Format(*d.Platform)] = true
	}
	return len(seen) > 1
}

func namesOf(d ocispec.Descriptor) []string {
	if name := d.Annotations[nameAnnotation]; name != "" {
		return []string{name}
	}
	// A bare tag names no image.
	if name := d.Annotations[ocispec.AnnotationRefName]; strings.ContainsAny(name, ":/") {
		return []string{name}
	}
	return nil
}

// attestation reports whether a manifest only describes another one.
func attestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

// maxDepth is how deep indexes may be nested.
const maxDepth = 4

func (a *archive) resolve(d ocispec.Descriptor, depth int) (Image, error) {
	raw := a.blob(d.Digest)
	if raw == nil {
		return Image{}, fmt.Errorf("the image archive lacks the manifest %s", d.Digest)
	}
	var kind struct {
		Manifests []ocispec.Descriptor
		Config    *ocispec.Descriptor
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	switch {
	case kind.Config != nil:
		return a.single(raw, kind.Config.Digest)
	case depth >= maxDepth:
		return Image{}, fmt.Errorf("the index %s is nested too deeply", d.Digest)
	case len(kind.Manifests) == 1:
		return a.resolve(kind.Manifests[0], depth+1)
	}
	return a.choose(kind.Manifests)
}

func (a *archive) single(raw []byte, config digest.Digest) (Image, error) {
	data := a.blob(config)
	if data == nil {
		return Image{}, fmt.Errorf("the image archive lacks the config %s", config)
	}
	img, err := ParseImage(raw, data)
	if err != nil {
		return Image{}, err
	}
	return img, a.checkPlatform(img)
}

// choose takes the manifest for the wanted platform.
func (a *archive) choose(list []ocispec.Descriptor) (Image, error) {
	match, want, err := a.matcher()
	if err != nil {
		return Image{}, err
	}
	var found []ocispec.Descriptor
	var have []string
	for _, d := range list {
		if attestation(d) || d.Platform == nil {
			continue
		}
		have = append(have, platforms.Format(*d.Platform))
		if match.Match(*d.Platform) && a.blob(d.Digest) != nil {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return Image{}, problem.New(fmt.Sprintf("the image is not there for %s, only for %s", want, strings.Join(have, ", ")), nil, platformHint)
	}
	slices.SortStableFunc(found, func(x, y ocispec.Descriptor) int {
		if match.Less(*x.Platform, *y.Platform) {
			return -1
		}
		return 1
	})
	return a.resolve(found[0], maxDepth)
}

// platformHint is what to do about an archive for machines of another kind.
const platformHint = "choose what there is with --platform, or save it for the platform of the nodes"

func (a *archive) checkPlatform(img Image) error {
	if a.opts.Platform == "" {
		return nil
	}
	match, want, err := a.matcher()
	if err != nil {
		return err
	}
	if img.Platform.OS != "" && !match.Match(img.Platform) {
		return problem.New(fmt.Sprintf("the image is for %s, not for %s", img.PlatformString(), want), nil, platformHint)
	}
	return nil
}

func (a *archive) matcher() (platforms.MatchComparer, string, error) {
	want := a.opts.Platform
	if want == "" {
		want = "linux/" + runtime.GOARCH
	}
	p, err := platforms.Parse(want)
	if err != nil {
		return nil, "", fmt.Errorf("platform %q: %w", want, err)
	}
	return platforms.Only(p), want, nil
}

// blob is a manifest, index or config of the archive, or of the store: an
// export may leave out what is there already.
func (a *archive) blob(d digest.Digest) []byte {
	if checkDigest(d) != nil {
		return nil
	}
	if data := a.meta[blobName(d)]; data != nil {
		return data
	}
	data, err := a.store.ReadBlob(d)
	if err != nil {
		return nil
	}
	return data
}
