package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxJSON is the largest manifest or config that is accepted, in bytes.
const maxJSON = 8 << 20

// An Image is the manifest and the config of one image for one platform, byte
// for byte, so that its digests stay what they are.
type Image struct {
	ManifestRaw []byte
	ConfigRaw   []byte
	Manifest    ocispec.Manifest
	DiffIDs     []digest.Digest // of the uncompressed layers, lowest first
	Platform    ocispec.Platform
}

// ParseImage reads a manifest and the config it names.
func ParseImage(manifest, config []byte) (Image, error) {
	img := Image{ManifestRaw: manifest, ConfigRaw: config}
	if err := json.Unmarshal(manifest, &img.Manifest); err != nil {
		return Image{}, fmt.Errorf("image manifest: %w", err)
	}
	var c ocispec.Image
	if err := json.Unmarshal(config, &c); err != nil {
		return Image{}, fmt.Errorf("image config: %w", err)
	}
	img.DiffIDs, img.Platform = c.RootFS.DiffIDs, c.Platform
	if got := digest.FromBytes(config); got != img.Manifest.Config.Digest {
		return Image{}, fmt.Errorf("image config has digest %s, but the manifest names %s", got, img.Manifest.Config.Digest)
	}
	if len(img.DiffIDs) != len(img.Manifest.Layers) {
		return Image{}, fmt.Errorf("image config lists %d layers, but the manifest %d", len(img.DiffIDs), len(img.Manifest.Layers))
	}
	for i, l := range img.Manifest.Layers {
		if err := errors.Join(checkDigest(l.Digest), checkDigest(img.DiffIDs[i])); err != nil {
			return Image{}, err
		}
	}
	return img, nil
}

// A Layer is one layer blob of an archive that carries no manifest.
type Layer struct {
	Digest    digest.Digest // of the blob; the diff ID when it is not compressed
	Size      int64
	MediaType string
}

// NewImage makes the manifest for a config and its layers, as engines with
// graph drivers give none. The same input gives the same manifest.
func NewImage(config []byte, layers []Layer) (Image, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
		},
		Layers: []ocispec.Descriptor{},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return Image{}, err
	}
	return ParseImage(raw, config)
}

// Digest is the digest of the manifest.
func (i Image) Digest() digest.Digest { return digest.FromBytes(i.ManifestRaw) }

// ChainIDs name the snapshots a node has once it has unpacked the layers: the
// n-th stands for layers 0 to n.
func (i Image) ChainIDs() []digest.Digest {
	// identity.ChainIDs works in place.
	return identity.ChainIDs(append([]digest.Digest(nil), i.DiffIDs...))
}

// PlatformString is os/arch[/variant].
func (i Image) PlatformString() string {
	p := i.Platform.OS + "/" + i.Platform.Architecture
	if i.Platform.Variant != "" {
		p += "/" + i.Platform.Variant
	}
	return p
}

// A record is what is stored of an Image.
type record struct {
	Manifest []byte `json:"manifest"`
	Config   []byte `json:"config"`
}

func (s *Store) recordPath(key string) string {
	return filepath.Join(s.dir, "records", strings.NewReplacer(":", "-", "/", "_").Replace(key)+".json")
}

// PutImage remembers an image under a key, the engine's ID for it.
func (s *Store) PutImage(key string, img Image) error {
	data, err := json.Marshal(record{img.ManifestRaw, img.ConfigRaw})
	if err != nil {
		return err
	}
	return s.putRecord(key, data)
}

func (s *Store) putRecord(key string, data []byte) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "record-")
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.recordPath(key))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("image cache: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// GetImage returns the image remembered under key. A record that cannot be
// read counts as none: the image is described anew.
func (s *Store) GetImage(key string) (Image, bool) {
	data, err := os.ReadFile(s.recordPath(key))
	if err != nil {
		return Image{}, false
	}
	var r record
	if json.Unmarshal(data, &r) != nil {
		return Image{}, false
	}
	img, err := ParseImage(r.Manifest, r.Config)
	if err != nil {
		return Image{}, false
	}
	now := time.Now()
	_ = os.Chtimes(s.recordPath(key), now, now) // only Prune's order depends on it
	return img, true
}

// Missing lists the layers of img whose blobs the store lacks.
func (s *Store) Missing(img Image) []digest.Digest {
	var missing []digest.Digest
	for _, l := range img.Manifest.Layers {
		if _, err := s.Size(l.Digest); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, l.Digest)
		}
	}
	return missing
}

// Parse reads a manifest whose config the store holds.
func (s *Store) Parse(manifest []byte) (Image, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return Image{}, fmt.Errorf("image manifest: %w", err)
	}
	if m.Config.Digest == "" {
		return Image{}, errors.New("image manifest: it names no config")
	}
	config, err := s.ReadBlob(m.Config.Digest)
	if err != nil {
		return Image{}, err
	}
	return ParseImage(manifest, config)
}
