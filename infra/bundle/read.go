package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
)

// maxSmall bounds what is read of a bundle into memory, in bytes.
const maxSmall = 64 << 20

// A Reader reads a bundle from front to back.
type Reader struct {
	Contents Contents
	Signed   bool // it has a signature; whose, only Verify says

	index     []byte
	signature []byte
	zstd      *zstd.Decoder
	tar       *tar.Reader
	manifests []ocispec.Descriptor                 // of images
	want      map[digest.Digest]ocispec.Descriptor // blobs that are still to come
	blobs     map[digest.Digest][]byte             // manifests and configs
	small     int64                                // bytes of them
	next      *tar.Header                          // read, and not yet used
}

// NewReader reads the head of a bundle: what is in it, and who signed it. A
// bundle of a newer format is a Problem that says so.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return nil, err
	}
	b := &Reader{zstd: z, tar: tar.NewReader(z), want: map[digest.Digest]ocispec.Descriptor{}, blobs: map[digest.Digest][]byte{}}
	if err := b.readHead(); err != nil {
		z.Close()
		return nil, err
	}
	return b, nil
}

// Close ends reading. The file is the caller's.
func (b *Reader) Close() { b.zstd.Close() }

func (b *Reader) readHead() error {
	first, err := b.entry()
	if err != nil {
		return damaged("it is no bundle, or its beginning is damaged", err)
	}
	if first.Name != ocispec.ImageLayoutFile {
		return damaged("it is no bundle", nil)
	}
	if version, err := b.readSmall(first); err != nil {
		return err
	} else if string(version) != layoutVersion {
		return damaged("it is no bundle, or its beginning is damaged", nil)
	}
	head, err := b.entry()
	if err != nil || head.Name != ocispec.ImageIndexFile {
		return damaged("its index is missing", err)
	}
	if b.index, err = b.readSmall(head); err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(b.index, &index); err != nil {
		return damaged("its index cannot be read", err)
	}
	format, err := strconv.Atoi(index.Annotations[annotationFormat])
	if err != nil || format < 1 {
		return damaged("it is an OCI layout, but no bundle of berth", nil)
	}
	if format > Format {
		return problem.New("read the bundle", fmt.Errorf("it has format %d, and this berth knows formats up to %d", format, Format), "get a newer berth")
	}
	var bundle *ocispec.Descriptor
	for _, d := range index.Manifests {
		b.want[d.Digest] = d
		if d.ArtifactType == artifactType {
			bundle = &d
		} else {
			b.manifests = append(b.manifests, d)
		}
	}
	if bundle == nil {
		return damaged("it does not say what is in it", nil)
	}
	return b.readContents(bundle.Digest)
}

// readContents reads the signature and the description of the bundle, which
// stand at its beginning.
func (b *Reader) readContents(bundle digest.Digest) error {
	h, err := b.entry()
	if err == nil && h.Name == signatureFile {
		b.Signed = true
		if b.signature, err = b.readSmall(h); err == nil {
			h, err = b.entry()
		}
	}
	if err != nil {
		return damaged("it ends early", err)
	}
	if err := b.takeSmall(h); err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(b.blobs[bundle], &manifest); err != nil {
		return damaged("its description is not where it should be", err)
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		b.want[d.Digest] = d
	}
	if h, err = b.entry(); err != nil {
		return damaged("it ends early", err)
	}
	if err := b.takeSmall(h); err != nil {
		return err
	}
	if err := json.Unmarshal(b.blobs[manifest.Config.Digest], &b.Contents); err != nil {
		return damaged("its description cannot be read", err)
	}
	if !validName.MatchString(b.Contents.Name) { // its files go into a folder of that name
		return damaged(fmt.Sprintf("its name %q is none", b.Contents.Name), nil)
	}
	return nil
}

// validName is what a project or workshop can be called.
var validName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Verify checks the signature with a function of the index and its signature.
func (b *Reader) Verify(check func(index, signature []byte) error) error {
	if !b.Signed {
		return problem.New("verify the bundle", errors.New("it is not signed"), "ask whoever made it for a signed one (berth bundle create --key)")
	}
	return check(b.index, b.signature)
}

// Images reads on to the first layer and returns the images, whose layers are
// still to come.
func (b *Reader) Images() ([]Packed, error) {
	for b.next == nil {
		h, d, err := b.blob()
		if err != nil {
			return nil, err
		}
		if h == nil {
			break
		}
		if !b.isSmall(d) {
			b.next = h
			break
		}
		if err := b.takeSmall(h); err != nil {
			return nil, err
		}
	}
	return b.images()
}

// blob goes to the next blob that is not taken yet and returns what it is called
// and its digest; nil after the last.
func (b *Reader) blob() (*tar.Header, digest.Digest, error) {
	h := b.next
	b.next = nil
	if h == nil {
		var err error
		if h, err = b.entry(); errors.Is(err, io.EOF) {
			return nil, "", nil
		} else if err != nil {
			return nil, "", damaged("it is damaged, or ends early", err)
		}
	}
	d, err := b.named(h)
	return h, d, err
}

// named is the digest of a blob that the bundle's index leads to.
func (b *Reader) named(h *tar.Header) (digest.Digest, error) {
	d, ok := blobDigest(h.Name)
	if _, known := b.want[d]; !ok || !known {
		return "", damaged(fmt.Sprintf("it holds %q, which its index does not name", h.Name), nil)
	}
	return d, nil
}

// Missing is how many bytes of what Images has told of a store lacks.
func (b *Reader) Missing(store *layout.Store) int64 {
	var size int64
	for d, want := range b.want {
		if !store.Has(d) {
			size += max(want.Size, 0)
		}
	}
	return size
}

// Blobs reads the rest of the bundle to its end: every blob is checked against
// its digest and, with a store, kept there. Blobs that the store has already are
// not written again, so an interrupted Blobs goes on where it was. It returns
// the images.
func (b *Reader) Blobs(ctx context.Context, store *layout.Store, progress func(done int64)) ([]Packed, error) {
	images, err := b.Images()
	if err != nil {
		return nil, err
	}
	var done int64
	for {
		h, d, err := b.blob()
		if err != nil {
			return nil, err
		}
		if h == nil {
			break
		}
		if done+h.Size > b.Contents.Size {
			return nil, damaged(fmt.Sprintf("it holds more than the %d bytes that it says", b.Contents.Size), nil)
		}
		source := &counter{ctx: ctx, r: b.tar, add: func(n int) {
			if done += int64(n); progress != nil {
				progress(done)
			}
		}}
		if err := b.takeLarge(d, h, source, store); err != nil {
			return nil, err
		}
	}
	if err := b.end(); err != nil {
		return nil, err
	}
	if len(b.want) > 0 {
		missing := slices.Sorted(maps.Keys(b.want))
		return nil, damaged(fmt.Sprintf("%d of its blobs are missing, the first of them %s", len(missing), missing[0]), nil)
	}
	return images, nil
}

// end reads what follows the last file: nothing but the checksum of it all, which
// also covers what has no digest.
func (b *Reader) end() error {
	n, err := io.Copy(io.Discard, b.zstd)
	switch {
	case err != nil:
		return damaged("it is damaged, or ends early", err)
	case n > 0:
		return damaged(fmt.Sprintf("%d bytes follow its end", n), nil)
	}
	return nil
}

// isSmall reports whether a blob is a manifest or a config.
func (b *Reader) isSmall(d digest.Digest) bool {
	t := b.want[d].MediaType
	return t == ocispec.MediaTypeImageManifest || strings.HasSuffix(t, "+json")
}

// takeSmall keeps a manifest or a config, and expects what a manifest names.
func (b *Reader) takeSmall(h *tar.Header) error {
	d, err := b.named(h)
	if err != nil {
		return err
	}
	want := b.want[d]
	data, err := b.readSmall(h)
	if err != nil {
		return err
	}
	if digest.FromBytes(data) != d {
		return damaged(fmt.Sprintf("blob %s has other content than its name says", d), nil)
	}
	b.blobs[d] = data
	delete(b.want, d)
	if want.MediaType != ocispec.MediaTypeImageManifest || want.ArtifactType == artifactType {
		return nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return damaged(fmt.Sprintf("manifest %s cannot be read", d), err)
	}
	for _, part := range append(m.Layers, m.Config) {
		if _, have := b.blobs[part.Digest]; !have && part.Digest.Validate() == nil {
			b.want[part.Digest] = part
		}
	}
	return nil
}

func (b *Reader) takeLarge(d digest.Digest, h *tar.Header, r io.Reader, store *layout.Store) error {
	want := b.want[d]
	if h.Size != want.Size {
		return damaged(fmt.Sprintf("blob %s has %d bytes, not %d", d, h.Size, want.Size), nil)
	}
	var err error
	if store != nil && !store.Keep(d) {
		_, _, err = store.Add(r, d)
	} else {
		hash := sha256.New()
		if _, err = io.Copy(hash, r); err == nil && digest.NewDigest(digest.SHA256, hash) != d {
			err = fmt.Errorf("blob %s has other content than its name says", d)
		}
	}
	if errors.Is(err, syscall.ENOSPC) {
		return problem.New("keep what the bundle holds", err, "free some space, then run the command again: it goes on where it was")
	}
	if err != nil {
		return damaged("its content is damaged", err)
	}
	delete(b.want, d)
	return nil
}

// images puts the images together from what was read.
func (b *Reader) images() ([]Packed, error) {
	var all []Packed
	for _, d := range b.manifests {
		raw := b.blobs[d.Digest]
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, damaged(fmt.Sprintf("manifest %s cannot be read", d.Digest), err)
		}
		img, err := layout.ParseImage(raw, b.blobs[m.Config.Digest])
		if err != nil {
			return nil, damaged("an image cannot be read", err)
		}
		p := Packed{Image: img, Ref: d.Annotations[ocispec.AnnotationRefName]}
		for _, entry := range b.Contents.Images {
			if entry.Ref == p.Ref && entry.Digest == d.Digest {
				p.Use = entry.Use
			}
		}
		if p.Use == "" {
			return nil, damaged(fmt.Sprintf("its description does not know image %q", p.Ref), nil)
		}
		all = append(all, p)
	}
	return all, nil
}

// entry reads the header of the next file.
func (b *Reader) entry() (*tar.Header, error) {
	h, err := b.tar.Next()
	if err == nil && h.Typeflag != tar.TypeReg {
		err = fmt.Errorf("%q is no file", h.Name)
	}
	return h, err
}

// readSmall reads a file whole.
func (b *Reader) readSmall(h *tar.Header) ([]byte, error) {
	if b.small += h.Size; b.small > maxSmall {
		return nil, damaged(fmt.Sprintf("%s has %d bytes", h.Name, h.Size), nil)
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, b.tar); err != nil {
		return nil, damaged("it is damaged, or ends early", err)
	}
	return out.Bytes(), nil
}

func blobDigest(name string) (digest.Digest, bool) {
	encoded, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/sha256/")
	d := digest.NewDigestFromEncoded(digest.SHA256, encoded)
	return d, ok && d.Validate() == nil
}

// damaged is the Problem of a bundle that is not as it was made.
func damaged(what string, err error) error {
	if err == nil {
		err = errors.New(what)
	} else {
		err = fmt.Errorf("%s: %w", what, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return problem.New("read the bundle", err, "get it again from where it came from")
}
