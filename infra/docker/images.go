package docker

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/model"
)

// An Image is what the engine says of one image it holds.
type Image struct {
	Facts   model.ImageFacts // Ref is the name it was asked for by
	Variant string           // of the architecture
	DiffIDs []string         // digests of the uncompressed layers, lowest first
	Tags    []string         // repository:tag, in the engine's short form
	Created time.Time
	Tagged  time.Time // when the name came to mean it, or was pulled last; zero where the engine does not know
	Size    int64
}

// Platform is os/arch[/variant].
func (i Image) Platform() string {
	p := i.Facts.OS + "/" + i.Facts.Arch
	if i.Variant != "" {
		p += "/" + i.Variant
	}
	return p
}

// ImageSummary is one line of the engine's list of images.
type ImageSummary struct {
	ID      string
	Tags    []string
	Labels  map[string]string
	Created time.Time
	Size    int64
}

// InspectImage describes an image by name or ID; found is false when the
// engine does not hold it.
func (c *Client) InspectImage(ctx context.Context, ref string) (img Image, found bool, err error) {
	r, err := c.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return Image{}, false, nil
	}
	if err != nil {
		return Image{}, false, fmt.Errorf("inspect image %q: %w", ref, err)
	}
	img = Image{
		Facts:   factsOf(ref, r),
		Variant: r.Variant, DiffIDs: r.RootFS.Layers, Tags: r.RepoTags, Size: r.Size, Tagged: r.Metadata.LastTagTime,
	}
	if created, err := time.Parse(time.RFC3339Nano, r.Created); err == nil {
		img.Created = created
	}
	return img, true, nil
}

func factsOf(ref string, r image.InspectResponse) model.ImageFacts {
	f := model.ImageFacts{Ref: ref, ID: r.ID, OS: r.Os, Arch: r.Architecture}
	if r.Config == nil {
		return f
	}
	f.Entrypoint, f.Cmd, f.Env = r.Config.Entrypoint, r.Config.Cmd, r.Config.Env
	f.User, f.WorkingDir, f.Shell = r.Config.User, r.Config.WorkingDir, r.Config.Shell
	f.StopSignal, f.Labels = r.Config.StopSignal, r.Config.Labels
	f.Ports, f.Volumes = sortedKeys(r.Config.ExposedPorts), sortedKeys(r.Config.Volumes)
	if h := r.Config.Healthcheck; h != nil {
		f.Health = &model.Health{
			Test: h.Test, Retries: h.Retries,
			Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval,
		}
	}
	return f
}

func sortedKeys(set map[string]struct{}) []string {
	if len(set) == 0 {
		return nil
	}
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Images lists the images that carry every one of the labels ("key" or
// "key=value").
func (c *Client) Images(ctx context.Context, labels ...string) ([]ImageSummary, error) {
	args := filters.NewArgs()
	for _, l := range labels {
		args.Add("label", l)
	}
	list, err := c.api.ImageList(ctx, image.ListOptions{Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	images := make([]ImageSummary, 0, len(list))
	for _, s := range list {
		images = append(images, ImageSummary{
			ID: s.ID, Tags: s.RepoTags, Labels: s.Labels, Created: time.Unix(s.Created, 0), Size: s.Size,
		})
	}
	return images, nil
}

// RemoveImage takes a name off an image and, with its last name, the image.
// An image that is gone is no error; one that a container uses is.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	_, err := c.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove image %q: %w", ref, err)
}

// SaveImages streams images as `docker save` does. platform (os/arch[/variant],
// "" for all) is honoured by engines that can choose (API 1.48); others send
// what they hold.
func (c *Client) SaveImages(ctx context.Context, refs []string, platform string) (io.ReadCloser, error) {
	var opts []client.ImageSaveOption
	if platform != "" && c.APIAtLeast(1, 48) {
		opts = append(opts, client.ImageSaveWithPlatforms(ociPlatform(platform)))
	}
	r, err := c.api.ImageSave(ctx, refs, opts...)
	if err != nil {
		return nil, fmt.Errorf("save image %s: %w", strings.Join(refs, ", "), err)
	}
	return r, nil
}

func ociPlatform(platform string) ocispec.Platform {
	parts := append(strings.SplitN(platform, "/", 3), "", "")
	return ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

// APIAtLeast reports whether the version both sides agreed on is major.minor
// or newer.
func (c *Client) APIAtLeast(major, minor int) bool {
	var gotMajor, gotMinor int
	if _, err := fmt.Sscanf(c.APIVersion(), "%d.%d", &gotMajor, &gotMinor); err != nil {
		return false
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

// ContainerdStore reports whether the engine keeps its images in containerd
// (the default since Docker 29) rather than in a graph driver.
func (c *Client) ContainerdStore(ctx context.Context) (bool, error) {
	info, err := c.api.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the engine about its image store: %w", err)
	}
	for _, status := range info.DriverStatus {
		if status[0] == "driver-type" && strings.HasPrefix(status[1], "io.containerd.snapshotter") {
			return true, nil
		}
	}
	return false, nil
}
