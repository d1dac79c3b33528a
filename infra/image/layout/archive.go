package layout

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxMeta bounds the manifests and configs of one archive, all together, in
// bytes.
const maxMeta = 64 << 20

// A NamedImage is an image of an archive with the names the archive gives it,
// as they stand there.
type NamedImage struct {
	Image
	Names []string
}

// ReadOptions say what to take from an archive.
type ReadOptions struct {
	Platform string // os/arch[/variant] to choose from images for several; "" for the only one, or linux on this machine's architecture
	// Skip reports layers that need not be stored, by blob digest. Layers that
	// the store holds are never stored again.
	Skip func(digest.Digest) bool
}

// ReadArchive reads what `docker save` of any version or an OCI layout in a
// tar file holds, plain or compressed, from front to back, and puts its layers
// into the store.
func (s *Store) ReadArchive(ctx context.Context, r io.Reader, opts ReadOptions) ([]NamedImage, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	a := newArchive(s, opts)
	tr := tar.NewReader(plain)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the image archive: %w", err)
		}
		if err := a.take(header, &cancelReader{ctx, tr}); err != nil {
			return nil, fmt.Errorf("read the image archive: %s: %w", header.Name, err)
		}
	}
	// What follows the archive's end must be read too: whoever writes it may
	// otherwise be cut off.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, fmt.Errorf("read the image archive: %w", err)
	}
	return a.images()
}

// A cancelReader stops reading when its context ends.
type cancelReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress undoes the compression of a whole archive, if there is any.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	head, err := b.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the image archive: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(b)
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(b)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// An archive collects what stands in an archive, by path, until its end.
type archive struct {
	store  *Store
	opts   ReadOptions
	meta   map[string][]byte // JSON files
	layers map[string]Layer  // everything else
	links  map[string]string // symbolic links, as old engines write for layers that occur twice
	size   int               // of meta
}

func newArchive(s *Store, opts ReadOptions) *archive {
	return &archive{store: s, opts: opts, meta: map[string][]byte{}, layers: map[string]Layer{}, links: map[string]string{}}
}

func (a *archive) take(h *tar.Header, r io.Reader) error {
	name := path.Clean("/" + h.Name)[1:]
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		a.links[name] = linkTarget(h, name)
		return nil
	default:
		return nil
	}
	want := blobDigest(name)
	head := make([]byte, min(h.Size, int64(len(zstdMagic))))
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	r = io.MultiReader(bytes.NewReader(head), r)
	if len(head) > 0 && (head[0] == '{' || head[0] == '[') && h.Size <= maxJSON {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if json.Valid(data) {
			return a.takeMeta(name, data, want)
		}
		r = bytes.NewReader(data)
	}
	if !isLayer(name, want) {
		return nil
	}
	return a.takeLayer(name, h.Size, head, r, want)
}

func (a *archive) takeMeta(name string, data []byte, want digest.Digest) error {
	if a.size += len(data); a.size > maxMeta {
		return fmt.Errorf("the archive holds more than %d MB of manifests", maxMeta>>20)
	}
	if want != "" && digest.FromBytes(data) != want {
		return fmt.Errorf("the content has digest %s", digest.FromBytes(data))
	}
	a.meta[name] = data
	return nil
}

func (a *archive) takeLayer(name string, size int64, head []byte, r io.Reader, want digest.Digest) error {
	layer := Layer{Digest: want, Size: size, MediaType: layerType(head)}
	if want == "" || !a.store.Keep(want) && (a.opts.Skip == nil || !a.opts.Skip(want)) {
		got, n, err := a.store.Add(r, want)
		if err != nil {
			return err
		}
		layer.Digest, layer.Size = got, n
	}
	a.layers[name] = layer
	return nil
}

func layerType(head []byte) string {
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return ocispec.MediaTypeImageLayerGzip
	case bytes.HasPrefix(head, zstdMagic):
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// blobDigest is the digest that a path blobs/sha256/<hex> promises, or "".
func blobDigest(name string) digest.Digest {
	encoded, ok := strings.CutPrefix(name, "blobs/sha256/")
	if !ok {
		return ""
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, encoded)
	if checkDigest(d) != nil {
		return ""
	}
	return d
}

func isLayer(name string, d digest.Digest) bool {
	return d != "" || strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz")
}

func linkTarget(h *tar.Header, name string) string {
	if h.Typeflag == tar.TypeLink {
		return path.Clean("/" + h.Linkname)[1:]
	}
	return path.Join("/", path.Dir(name), h.Linkname)[1:]
}

// layer finds the layer at a path, through at most a few links.
func (a *archive) layer(name string) (Layer, bool) {
	name = path.Clean("/" + name)[1:]
	for range 8 {
		if l, ok := a.layers[name]; ok {
			return l, true
		}
		next, ok := a.links[name]
		if !ok {
			return Layer{}, false
		}
		name = next
	}
	return Layer{}, false
}
