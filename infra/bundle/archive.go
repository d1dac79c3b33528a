package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/image/layout"
)

// WriteArchive writes one image as `docker load` takes it, from engines of
// either kind: an OCI layout with the manifest.json of older ones beside it.
func WriteArchive(ctx context.Context, w io.Writer, img Packed, store *layout.Store) error {
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{
			MediaType: ocispec.MediaTypeImageManifest, Digest: img.Digest(), Size: int64(len(img.ManifestRaw)),
			Annotations: map[string]string{"io.containerd.image.name": img.Ref, ocispec.AnnotationRefName: img.Ref},
		}},
	})
	if err != nil {
		return err
	}
	config := blobName(img.Manifest.Config.Digest)
	var layers []string
	for _, l := range img.Manifest.Layers {
		layers = append(layers, blobName(l.Digest))
	}
	legacy, err := json.Marshal([]map[string]any{{"Config": config, "RepoTags": []string{img.Ref}, "Layers": layers}})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{ocispec.ImageLayoutFile, []byte(layoutVersion)}, {ocispec.ImageIndexFile, index}, {"manifest.json", legacy},
		{blobName(img.Digest()), img.ManifestRaw}, {config, img.ConfigRaw},
	} {
		if err := writeEntry(tw, f.name, 0o444, int64(len(f.data)), bytes.NewReader(f.data)); err != nil {
			return err
		}
	}
	written := map[digest.Digest]bool{}
	for _, l := range img.Manifest.Layers {
		if written[l.Digest] {
			continue
		}
		written[l.Digest] = true
		f, err := store.OpenBlob(l.Digest)
		if err != nil {
			return err
		}
		source := &counter{ctx: ctx, r: f, add: func(int) {}}
		if err := errors.Join(writeEntry(tw, blobName(l.Digest), 0o444, l.Size, source), f.Close()); err != nil {
			return err
		}
	}
	return tw.Close()
}
