package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	registryerror "github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A Registry is where images for clusters that are not on this machine go.
type Registry struct {
	Prefix     string   // HOST[:PORT][/PATH]
	PullPrefix string   // what the nodes call Prefix; "" for the same
	Insecure   bool     // plain HTTP, or a certificate nobody signed
	Platforms  []string // os/arch[/variant] of the cluster's nodes; empty for the engine's own
}

// Pushed is an image that is in a registry now.
type Pushed struct {
	Name      string // what pods use: with tag and digest, so that it means this image and no other
	Layers    int    // that were sent, over all platforms
	AllLayers int
	Bytes     int64 // of the layers that were sent
}

// PushTo sends images of the engine to a registry, only the layers it lacks,
// with the credentials of the Docker config. Each gets its content tag there.
// The result is by the names given.
func (i *Images) PushTo(ctx context.Context, refs []string, r Registry, sink progress.Sink) (map[string]Pushed, error) {
	var mu sync.Mutex
	all := map[string]Pushed{}
	errs := make([]error, len(refs))
	inParallel(len(refs), 3, func(n int) {
		task := progress.Start(sink, "push "+refs[n], "asking the registry")
		pushed, err := i.pushTo(ctx, refs[n], r, task)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			errs[n] = task.End(problem.New(fmt.Sprintf("push image %q to %s", refs[n], r.Prefix), err, pushHint(err, r)), "")
			return
		}
		task.Done(pushed.summary(r))
		mu.Lock()
		defer mu.Unlock()
		all[refs[n]] = pushed
	})
	return all, errors.Join(errs...)
}

func (p Pushed) summary(r Registry) string {
	if p.Layers == 0 {
		return r.Prefix + " has it already"
	}
	return fmt.Sprintf("%d of %d layers sent to %s, %s", p.Layers, p.AllLayers, r.Prefix, megabytes(p.Bytes))
}

func pushHint(err error, r Registry) string {
	text := err.Error()
	host, _, _ := strings.Cut(r.Prefix, "/")
	var refused *registryerror.Error
	switch {
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return "docker login " + host
	case errors.Is(err, errPlainHTTP), strings.Contains(text, "server gave HTTP response to HTTPS client"), strings.Contains(text, "x509"):
		return "if this registry is meant to be insecure, say so with --insecure-registry"
	}
	return ""
}

// Serves reports whether pods get the image that they call ref from the registry.
func (r Registry) Serves(ref string) bool {
	prefix := cmp.Or(r.PullPrefix, r.Prefix)
	return prefix != "" && strings.HasPrefix(ref, strings.TrimSuffix(prefix, "/")+"/")
}

// RemoteName is what an image is called in a registry: its path and tag below
// the registry's prefix.
func (r Registry) RemoteName(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", ref, err)
	}
	tag := "latest"
	if t, ok := named.(reference.Tagged); ok {
		tag = t.Tag()
	}
	prefix := strings.TrimSuffix(r.Prefix, "/")
	if strings.HasPrefix(named.Name(), prefix+"/") {
		return named.Name() + ":" + tag, nil // it has the registry's name already
	}
	return prefix + "/" + strings.TrimPrefix(reference.Path(named), "library/") + ":" + tag, nil
}

// PodName is what pods call an image of the engine that PushTo has sent:
// its content tag, below what the nodes call the registry.
func (r Registry) PodName(ref, id string) (string, error) {
	name, err := r.RemoteName(contentTag(ref, id))
	if err != nil || r.PullPrefix == "" {
		return name, err
	}
	return strings.TrimSuffix(r.PullPrefix, "/") + strings.TrimPrefix(name, strings.TrimSuffix(r.Prefix, "/")), nil
}

func (i *Images) pushTo(ctx context.Context, ref string, r Registry, task *progress.Task) (Pushed, error) {
	held, found, err := i.engine.InspectImage(ctx, ref)
	if err != nil {
		return Pushed{}, err
	}
	if !found {
		return Pushed{}, missingImages([]string{ref}, nil)
	}
	tag, err := r.tag(ref, held.Facts.ID)
	if err != nil {
		return Pushed{}, err
	}
	updates := make(chan v1.Update, 100)
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(transport(r.Insecure)),
	}
	images, pushed, err := i.pushable(ctx, held, r, tag, options)
	if err != nil {
		return Pushed{}, err
	}
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		for u := range updates {
			task.Progress(u.Complete, u.Total)
		}
	}()
	d, err := upload(tag, images, append(options, remote.WithProgress(updates)))
	<-reported // upload closes updates, also when it fails
	if err != nil {
		return Pushed{}, err
	}
	name, err := r.PodName(ref, held.Facts.ID)
	pushed.Name = name + "@" + d.String()
	return pushed, err
}

// tag is where an image goes.
func (r Registry) tag(ref, id string) (name.Tag, error) {
	to, err := r.RemoteName(contentTag(ref, id))
	if err != nil {
		return name.Tag{}, err
	}
	if r.Insecure {
		return name.NewTag(to, name.Insecure)
	}
	return name.NewTag(to)
}

// upload sends one image as it is, and several as an index.
func upload(tag name.Tag, images []v1.Image, options []remote.Option) (v1.Hash, error) {
	if len(images) == 1 {
		if err := remote.Write(tag, images[0], options...); err != nil {
			return v1.Hash{}, err
		}
		return images[0].Digest()
	}
	index := v1.ImageIndex(empty.Index)
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}},
		})
	}
	if err := remote.WriteIndex(tag, index, options...); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// pushable describes the image for every platform and sees to it that the
// layout holds the layers the registry lacks, which it counts.
func (i *Images) pushable(ctx context.Context, held docker.Image, r Registry, tag name.Tag, options []remote.Option) ([]v1.Image, Pushed, error) {
	wanted := r.Platforms
	if len(wanted) == 0 {
		own, err := i.loadPlatform(ctx, "")
		if err != nil {
			return nil, Pushed{}, err
		}
		wanted = []string{own}
	}
	local := isLocal(tag.RegistryStr())
	var images []v1.Image
	var count Pushed
	for _, platform := range wanted {
		p, err := i.loadPlatform(ctx, platform)
		if err != nil {
			return nil, Pushed{}, err
		}
		img, lacking, err := i.forRegistry(ctx, held, p, local, tag.Context(), options)
		if err != nil {
			return nil, Pushed{}, fmt.Errorf("platform %s: %w", p, err)
		}
		for n, l := range img.Manifest.Layers {
			count.AllLayers++
			if lacking[n] {
				count.Layers++
				count.Bytes += l.Size
			}
		}
		pushed, err := i.cache.Remote(img)
		if err != nil {
			return nil, Pushed{}, err
		}
		images = append(images, pushed)
	}
	return images, count, nil
}

// forRegistry is an image with its layers as they are to be sent: as they are
// to a registry on this machine, compressed to others. lacking are those that the
// registry does not have.
func (i *Images) forRegistry(ctx context.Context, held docker.Image, platform string, local bool, repo name.Repository, options []remote.Option) (img layout.Image, lacking map[int]bool, err error) {
	if img, err = i.export(ctx, want{img: held, platform: platform}); err != nil {
		return img, nil, err
	}
	lacking = map[int]bool{}
	for n, l := range img.Manifest.Layers {
		sent := l.Digest
		if !local {
			if c, ok := i.cache.Compressed(l); ok {
				sent = c.Digest
			}
		}
		has, err := registryHas(repo, sent, options)
		if err != nil {
			return img, nil, err
		}
		if !has {
			lacking[n] = true
		}
	}
	if img, err = i.export(ctx, want{img: held, platform: platform, layers: lacking}); err != nil || local {
		return img, lacking, err
	}
	img, err = i.cache.Compress(ctx, img, lacking)
	return img, lacking, err
}

func registryHas(repo name.Repository, d digest.Digest, options []remote.Option) (bool, error) {
	layer, err := remote.Layer(repo.Digest(d.String()), options...)
	if err != nil {
		return false, err
	}
	return partial.Exists(layer)
}

// isLocal reports whether a registry is on this machine or the next, where
// bandwidth costs less than compression.
func isLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsPrivate())
}
