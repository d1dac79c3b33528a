package image

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// PushTo sends images of the engine to a registry, only the layers it lacks,
// with the credentials of the Docker config. It returns, by the names given,
// the names that pods use: with a digest, so that they mean this image and no
// other.
func (i *Images) PushTo(ctx context.Context, refs []string, r Registry, sink progress.Sink) (map[string]string, error) {
	var mu sync.Mutex
	names := map[string]string{}
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
		task.Done(pushed)
		mu.Lock()
		defer mu.Unlock()
		names[refs[n]] = pushed
	})
	return names, errors.Join(errs...)
}

func pushHint(err error, r Registry) string {
	text := err.Error()
	host, _, _ := strings.Cut(r.Prefix, "/")
	switch {
	case strings.Contains(text, "UNAUTHORIZED"), strings.Contains(text, "DENIED"):
		return "docker login " + host
	case strings.Contains(text, "server gave HTTP response to HTTPS client"), strings.Contains(text, "x509"):
		return "name the registry as insecure if it is meant to be"
	}
	return ""
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

func (i *Images) pushTo(ctx context.Context, ref string, r Registry, task *progress.Task) (string, error) {
	to, err := r.RemoteName(ref)
	if err != nil {
		return "", err
	}
	var nameOptions []name.Option
	if r.Insecure {
		nameOptions = append(nameOptions, name.Insecure)
	}
	tag, err := name.NewTag(to, nameOptions...)
	if err != nil {
		return "", err
	}
	updates := make(chan v1.Update, 100)
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(transport(r.Insecure)),
	}
	images, err := i.pushable(ctx, ref, r, tag, options)
	if err != nil {
		return "", err
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
		return "", err
	}
	if r.PullPrefix != "" {
		to = strings.TrimSuffix(r.PullPrefix, "/") + strings.TrimPrefix(to, strings.TrimSuffix(r.Prefix, "/"))
	}
	return to + "@" + d.String(), nil
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
// layout holds the layers the registry lacks.
func (i *Images) pushable(ctx context.Context, ref string, r Registry, tag name.Tag, options []remote.Option) ([]v1.Image, error) {
	held, found, err := i.engine.InspectImage(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missingImages([]string{ref}, nil)
	}
	wanted := r.Platforms
	if len(wanted) == 0 {
		own, err := i.loadPlatform(ctx, "")
		if err != nil {
			return nil, err
		}
		wanted = []string{own}
	}
	local := isLocal(tag.RegistryStr())
	var images []v1.Image
	for _, platform := range wanted {
		p, err := i.loadPlatform(ctx, platform)
		if err != nil {
			return nil, err
		}
		img, err := i.forRegistry(ctx, held, p, local, tag.Context(), options)
		if err != nil {
			return nil, fmt.Errorf("platform %s: %w", p, err)
		}
		pushed, err := i.cache.Remote(img)
		if err != nil {
			return nil, err
		}
		images = append(images, pushed)
	}
	return images, nil
}

// forRegistry is an image with its layers as they are to be sent: as they are
// to a registry on this machine, compressed to others.
func (i *Images) forRegistry(ctx context.Context, held docker.Image, platform string, local bool, repo name.Repository, options []remote.Option) (layout.Image, error) {
	img, err := i.export(ctx, want{img: held, platform: platform})
	if err != nil {
		return layout.Image{}, err
	}
	lacking := map[int]bool{}
	for n, l := range img.Manifest.Layers {
		sent := l.Digest
		if !local {
			if c, ok := i.cache.Compressed(l); ok {
				sent = c.Digest
			}
		}
		has, err := registryHas(repo, sent, options)
		if err != nil {
			return layout.Image{}, err
		}
		lacking[n] = !has
	}
	if img, err = i.export(ctx, want{img: held, platform: platform, layers: lacking}); err != nil || local {
		return img, err
	}
	return i.cache.Compress(ctx, img, lacking)
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
