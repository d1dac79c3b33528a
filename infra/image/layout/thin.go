package layout

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nameAnnotation is where containerd looks for the name of an imported image.
const nameAnnotation = "io.containerd.image.name"

// A Thin is an OCI archive of one image under any number of names that holds
// only some of the image's layers.
type Thin struct {
	Image  Image
	Names  []string     // full references
	Layers map[int]bool // the indices of the layers to include
	index  []byte       // index.json
	parts  []ocispec.Descriptor
	sent   map[digest.Digest]bool
}

// NewThin prepares an archive. Layers that occur twice are included once.
func NewThin(img Image, names []string, layers map[int]bool) (*Thin, error) {
	t := &Thin{Image: img, Names: names, Layers: layers, sent: map[digest.Digest]bool{}}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
	}
	mediaType := img.Manifest.MediaType
	if mediaType == "" {
		mediaType = ocispec.MediaTypeImageManifest
	}
	for _, name := range names {
		platform := img.Platform
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: mediaType, Digest: img.Digest(), Size: int64(len(img.ManifestRaw)),
			Annotations: map[string]string{nameAnnotation: name, ocispec.AnnotationRefName: name},
			Platform:    &platform,
		})
	}
	var err error
	if t.index, err = json.Marshal(index); err != nil {
		return nil, err
	}
	for i, l := range img.Manifest.Layers {
		if layers[i] && !t.sent[l.Digest] {
			t.sent[l.Digest] = true
			t.parts = append(t.parts, l)
		}
	}
	return t, nil
}

// Count is the number of layer blobs in the archive.
func (t *Thin) Count() int { return len(t.parts) }

// Size is the size of the archive in bytes.
func (t *Thin) Size() int64 {
	size := int64(2 * tarBlock) // the end mark
	for _, n := range []int{len(ociLayout), len(t.index), len(t.Image.ManifestRaw), len(t.Image.ConfigRaw)} {
		size += entrySize(int64(n))
	}
	for _, l := range t.parts {
		size += entrySize(l.Size)
	}
	return size
}

const (
	tarBlock  = 512
	ociLayout = `{"imageLayoutVersion":"1.0.0"}`
)

func entrySize(n int64) int64 { return tarBlock + (n+tarBlock-1)/tarBlock*tarBlock }

// Write writes the archive, with the layers from store.
func (t *Thin) Write(w io.Writer, store *Store) error {
	tw := tar.NewWriter(w)
	small := []struct {
		name string
		data []byte
	}{
		{ocispec.ImageLayoutFile, []byte(ociLayout)},
		{ocispec.ImageIndexFile, t.index},
		{blobName(t.Image.Digest()), t.Image.ManifestRaw},
		{blobName(t.Image.Manifest.Config.Digest), t.Image.ConfigRaw},
	}
	for _, f := range small {
		if err := writeEntry(tw, f.name, int64(len(f.data)), bytes.NewReader(f.data)); err != nil {
			return err
		}
	}
	for _, l := range t.parts {
		if err := t.writeLayer(tw, store, l); err != nil {
			return err
		}
	}
	return tw.Close()
}

func (t *Thin) writeLayer(tw *tar.Writer, store *Store, l ocispec.Descriptor) error {
	f, err := store.OpenBlob(l.Digest)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.Digest, err)
	}
	defer f.Close()
	return writeEntry(tw, blobName(l.Digest), l.Size, f)
}

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func writeEntry(tw *tar.Writer, name string, size int64, r io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, Format: tar.FormatUSTAR}
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(tw, r)
	return err
}
