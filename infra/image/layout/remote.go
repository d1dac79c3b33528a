package layout

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Remote offers an image to go-containerregistry. Layers that the store lacks
// can be named but not read: the registry must have them.
func (s *Store) Remote(img Image) (v1.Image, error) {
	return partial.CompressedToImage(&remoteImage{s, img})
}

type remoteImage struct {
	store *Store
	img   Image
}

func (r *remoteImage) RawConfigFile() ([]byte, error) { return r.img.ConfigRaw, nil }
func (r *remoteImage) RawManifest() ([]byte, error)   { return r.img.ManifestRaw, nil }

func (r *remoteImage) MediaType() (types.MediaType, error) {
	if r.img.Manifest.MediaType == "" {
		return types.OCIManifestSchema1, nil
	}
	return types.MediaType(r.img.Manifest.MediaType), nil
}

func (r *remoteImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range r.img.Manifest.Layers {
		if l.Digest.String() == h.String() {
			return &remoteLayer{r.store, l}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

type remoteLayer struct {
	store *Store
	desc  ocispec.Descriptor
}

func (l *remoteLayer) Digest() (v1.Hash, error) { return v1.NewHash(l.desc.Digest.String()) }
func (l *remoteLayer) Size() (int64, error)     { return l.desc.Size, nil }
func (l *remoteLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.desc.MediaType), nil
}
func (l *remoteLayer) Compressed() (io.ReadCloser, error) { return l.store.OpenBlob(l.desc.Digest) }

// Compressed finds the compressed form of an uncompressed layer, if it was
// made before; its blob may have been pruned since. Other layers are their own.
func (s *Store) Compressed(l ocispec.Descriptor) (ocispec.Descriptor, bool) {
	if l.MediaType != ocispec.MediaTypeImageLayer {
		return l, true
	}
	data, err := os.ReadFile(s.recordPath(compressedKey(l.Digest)))
	if err != nil {
		return ocispec.Descriptor{}, false
	}
	var c ocispec.Descriptor
	if json.Unmarshal(data, &c) != nil || checkDigest(c.Digest) != nil {
		return ocispec.Descriptor{}, false
	}
	return c, true
}

func compressedKey(d digest.Digest) string { return "gzip-" + d.Encoded() }

// Compress is img with compressed layers. Those in needed are compressed now
// unless the store holds the result; of others only the result's name is used.
func (s *Store) Compress(ctx context.Context, img Image, needed map[int]bool) (Image, error) {
	m := img.Manifest
	m.Layers = append([]ocispec.Descriptor(nil), m.Layers...)
	for n, l := range m.Layers {
		c, ok := s.Compressed(l)
		if !ok || needed[n] && !s.Keep(c.Digest) {
			var err error
			if c, err = s.compress(ctx, l); err != nil {
				return Image{}, err
			}
		}
		m.Layers[n] = c
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return Image{}, err
	}
	return ParseImage(raw, img.ConfigRaw)
}

func (s *Store) compress(ctx context.Context, l ocispec.Descriptor) (ocispec.Descriptor, error) {
	f, err := s.OpenBlob(l.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	in, err := s.NewIngest()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	z := gzip.NewWriter(in)
	_, err = io.Copy(z, &cancelReader{ctx, f})
	if err = errors.Join(err, z.Close()); err != nil {
		return ocispec.Descriptor{}, errors.Join(err, in.Discard())
	}
	c := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Size: in.Size()}
	if c.Digest, err = in.Commit(""); err != nil {
		return ocispec.Descriptor{}, err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return c, s.putRecord(compressedKey(l.Digest), data)
}
