package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content offers the store to BuildKit as the place an OCI export goes to.
// Blobs that are in it are not transferred; nor are layers that skip reports
// (nil for none), because whoever wants them has them.
func (s *Store) Content(skip func(digest.Digest) bool) content.Store {
	return &contentStore{store: s, skip: skip, open: map[string]*writer{}}
}

type contentStore struct {
	store *Store
	skip  func(digest.Digest) bool

	mu   sync.Mutex
	open map[string]*writer // by ingest reference
}

func (c *contentStore) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	size, err := c.store.Size(d)
	if err == nil {
		return content.Info{Digest: d, Size: size}, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{}, err
}

func (c *contentStore) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	f, err := c.store.OpenBlob(desc.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return blobReader{f, info.Size()}, nil
}

type blobReader struct {
	*os.File
	size int64
}

func (b blobReader) Size() int64 { return b.size }

// Writer starts a blob, or refuses with ErrAlreadyExists what need not be sent.
func (c *contentStore) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	d := o.Desc.Digest
	if d != "" && (c.store.Keep(d) || c.skip != nil && c.skip(d)) {
		return nil, fmt.Errorf("blob %s: %w", d, errdefs.ErrAlreadyExists)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[o.Ref] != nil {
		return nil, fmt.Errorf("ingest %q: %w", o.Ref, errdefs.ErrUnavailable)
	}
	in, err := c.store.NewIngest()
	if err != nil {
		return nil, err
	}
	w := &writer{Ingest: in, owner: c, ref: o.Ref, started: time.Now(), total: o.Desc.Size, expected: d}
	c.open[o.Ref] = w
	return w, nil
}

func (c *contentStore) closed(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, ref)
}

func (c *contentStore) Status(_ context.Context, ref string) (content.Status, error) {
	c.mu.Lock()
	w := c.open[ref]
	c.mu.Unlock()
	if w == nil {
		return content.Status{}, fmt.Errorf("ingest %q: %w", ref, errdefs.ErrNotFound)
	}
	return w.Status()
}

func (c *contentStore) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []content.Status
	for _, w := range c.open {
		status, err := w.Status()
		if err != nil {
			return nil, err
		}
		list = append(list, status)
	}
	return list, nil
}

// Abort drops an unfinished blob. Closing its writer does the same, so that
// one that is gone is no error.
func (c *contentStore) Abort(_ context.Context, ref string) error {
	c.mu.Lock()
	w := c.open[ref]
	c.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.Close()
}

// Update, Walk and Delete are what an export target is never asked for.
func (c *contentStore) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, fmt.Errorf("update: %w", errdefs.ErrNotImplemented)
}

func (c *contentStore) Walk(context.Context, content.WalkFunc, ...string) error {
	return fmt.Errorf("walk: %w", errdefs.ErrNotImplemented)
}

func (c *contentStore) Delete(context.Context, digest.Digest) error {
	return fmt.Errorf("delete: %w", errdefs.ErrNotImplemented)
}

// A writer is an Ingest as containerd's content API wants it. Closing it
// without a commit drops the blob: an export starts over, it never resumes.
type writer struct {
	*Ingest
	owner    *contentStore
	ref      string
	started  time.Time
	total    int64
	expected digest.Digest
}

var _ io.Closer = (*writer)(nil)

func (w *writer) Close() error {
	w.owner.closed(w.ref)
	return w.Discard()
}

func (w *writer) Commit(_ context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	defer w.owner.closed(w.ref)
	if size > 0 && size != w.Size() {
		return errors.Join(fmt.Errorf("blob %s has %d bytes, not %d", expected, w.Size(), size), w.Discard())
	}
	_, err := w.Ingest.Commit(expected)
	return err
}

func (w *writer) Status() (content.Status, error) {
	return content.Status{
		Ref: w.ref, Offset: w.Size(), Total: w.total, Expected: w.expected, StartedAt: w.started, UpdatedAt: time.Now(),
	}, nil
}

func (w *writer) Truncate(size int64) error {
	if size != 0 {
		return fmt.Errorf("truncate to %d: %w", size, errdefs.ErrNotImplemented)
	}
	if err := w.file.Truncate(0); err != nil {
		return err
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w.hash.Reset()
	w.size = 0
	return nil
}
