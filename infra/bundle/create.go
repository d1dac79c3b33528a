package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/image/layout"
)

// A Packed is an image whose layers are in the store.
type Packed struct {
	layout.Image
	Ref string // full name
	Use Use
}

// A Plan is what to put into a bundle. The blobs of images and files are in
// the store.
type Plan struct {
	Contents Contents // Name, Created, Berth, Platform, Files
	Images   []Packed
	Sign     func(index []byte) []byte // nil for no signature
	Progress func(done, total int64)   // bytes of blobs
}

// Write writes a bundle. The same plan gives the same bytes before compression.
func Write(ctx context.Context, w io.Writer, p Plan, store *layout.Store) (Contents, error) {
	o, err := p.outline(store)
	if err != nil {
		return Contents{}, err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(8<<20))
	if err != nil {
		return Contents{}, err
	}
	tw := tar.NewWriter(z)
	if err := o.write(ctx, tw, store, p); err != nil {
		return Contents{}, errors.Join(err, z.Close())
	}
	return o.contents, errors.Join(tw.Close(), z.Close())
}

// An outline is everything small of a bundle, and which blobs follow.
type outline struct {
	contents Contents
	index    []byte
	small    [][]byte // blobs: the bundle's manifest and contents, the images' manifests and configs
	large    []ocispec.Descriptor
}

func (p Plan) outline(store *layout.Store) (outline, error) {
	o := outline{contents: p.Contents}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Annotations: map[string]string{annotationFormat: fmt.Sprint(Format)},
	}
	seen := map[digest.Digest]bool{}
	large := func(d ocispec.Descriptor) error {
		if seen[d.Digest] {
			return nil
		}
		seen[d.Digest] = true
		size, err := store.Size(d.Digest)
		if err != nil {
			return fmt.Errorf("blob %s is not in the image cache: %w", d.Digest, err)
		}
		d.Size = size
		o.large = append(o.large, d)
		o.contents.Size += size
		return nil
	}
	artifact := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Layers: []ocispec.Descriptor{},
	}
	for _, f := range p.Contents.Files {
		d := ocispec.Descriptor{MediaType: fileType, Digest: f.Digest, Size: f.Size}
		artifact.Layers = append(artifact.Layers, d)
		if err := large(d); err != nil {
			return o, err
		}
	}
	var manifests [][]byte
	for _, img := range p.Images {
		entry := Image{Ref: img.Ref, Use: img.Use, Digest: img.Digest()}
		for _, l := range img.Manifest.Layers {
			if err := large(l); err != nil {
				return o, fmt.Errorf("image %q: %w", img.Ref, err)
			}
			entry.Size += l.Size
		}
		o.contents.Images = append(o.contents.Images, entry)
		platform := img.Platform
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: img.Digest(), Size: int64(len(img.ManifestRaw)), Platform: &platform,
			Annotations: map[string]string{ocispec.AnnotationRefName: img.Ref},
		})
		for _, blob := range [][]byte{img.ManifestRaw, img.ConfigRaw} {
			if d := digest.FromBytes(blob); !seen[d] {
				seen[d] = true
				manifests = append(manifests, blob)
			}
		}
	}
	contents, err := json.Marshal(o.contents)
	if err != nil {
		return o, err
	}
	artifact.Config = ocispec.Descriptor{MediaType: contentsType, Digest: digest.FromBytes(contents), Size: int64(len(contents))}
	manifest, err := json.Marshal(artifact)
	if err != nil {
		return o, err
	}
	index.Manifests = append(index.Manifests, ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType, Digest: digest.FromBytes(manifest), Size: int64(len(manifest)),
	})
	o.small = append([][]byte{manifest, contents}, manifests...)
	o.index, err = json.Marshal(index)
	return o, err
}

func (o outline) write(ctx context.Context, tw *tar.Writer, store *layout.Store, p Plan) error {
	put := func(name string, data []byte) error {
		return writeEntry(tw, name, 0o444, int64(len(data)), bytes.NewReader(data))
	}
	if err := put(ocispec.ImageLayoutFile, []byte(layoutVersion)); err != nil {
		return err
	}
	if err := put(ocispec.ImageIndexFile, o.index); err != nil {
		return err
	}
	if p.Sign != nil {
		if err := put(signatureFile, p.Sign(o.index)); err != nil {
			return err
		}
	}
	for _, blob := range o.small {
		if err := put(blobName(digest.FromBytes(blob)), blob); err != nil {
			return err
		}
	}
	var done int64
	for _, d := range o.large {
		f, err := store.OpenBlob(d.Digest)
		if err != nil {
			return err
		}
		counting := &counter{ctx: ctx, r: f, add: func(n int) {
			if done += int64(n); p.Progress != nil {
				p.Progress(done, o.contents.Size)
			}
		}}
		if err := errors.Join(writeEntry(tw, blobName(d.Digest), 0o444, d.Size, counting), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// A counter tells how much was read, and stops when its context ends.
type counter struct {
	ctx context.Context
	r   io.Reader
	add func(int)
}

// Read reads on.
func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	c.add(n)
	return n, err
}

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func writeEntry(tw *tar.Writer, name string, mode, size int64, r io.Reader) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(tw, r)
	return err
}
