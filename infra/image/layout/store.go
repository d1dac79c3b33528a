package layout

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/opencontainers/go-digest"
)

// A Store is a folder of blobs named by their digest. Any number of processes
// may use one folder: blobs appear whole, by a rename, and never change.
type Store struct {
	dir string
}

// Open uses the folder dir, which it makes if it is missing.
func Open(dir string) (*Store, error) {
	for _, sub := range []string{"blobs/sha256", "records", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(sub)), 0o755); err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
	}
	return &Store{dir: dir}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(d digest.Digest) string {
	return filepath.Join(s.dir, "blobs", "sha256", d.Encoded())
}

// Has reports whether the store holds a blob.
func (s *Store) Has(d digest.Digest) bool {
	_, err := s.Size(d)
	return err == nil
}

// Size is the size of a blob in bytes, or fs.ErrNotExist.
func (s *Store) Size(d digest.Digest) (int64, error) {
	if err := checkDigest(d); err != nil {
		return 0, err
	}
	info, err := os.Stat(s.path(d))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Keep is Has, and notes that the blob is about to be used.
func (s *Store) Keep(d digest.Digest) bool {
	if checkDigest(d) != nil {
		return false
	}
	now := time.Now()
	return os.Chtimes(s.path(d), now, now) == nil
}

// OpenBlob opens a blob for reading and notes that it was used.
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(d))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(s.path(d), now, now) // only Prune's order depends on it
	return f, nil
}

// ReadBlob reads a small blob: a manifest or a config.
func (s *Store) ReadBlob(d digest.Digest) ([]byte, error) {
	f, err := s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err == nil && len(data) > maxJSON {
		err = fmt.Errorf("blob %s is too large for a manifest or a config", d)
	}
	return data, err
}

// Remove deletes a blob; one that is gone is no error.
func (s *Store) Remove(d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	if err := os.Remove(s.path(d)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkDigest refuses anything that is not a sha256 digest, so that a digest
// from outside can name a file.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: only sha256 is supported", d)
	}
	return nil
}

// An Ingest is a blob being written. End it with Commit or Discard.
type Ingest struct {
	store *Store
	file  *os.File
	alive *flock.Flock // held while a process writes, so that Prune leaves the file alone
	hash  hash.Hash
	size  int64
}

// NewIngest starts a blob.
func (s *Store) NewIngest() (*Ingest, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "blob-")
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	alive := flock.New(f.Name(), flock.SetFlag(os.O_RDWR))
	if _, err := alive.TryLock(); err != nil {
		return nil, errors.Join(fmt.Errorf("image cache: %w", err), f.Close(), os.Remove(f.Name()))
	}
	return &Ingest{store: s, file: f, alive: alive, hash: sha256.New()}, nil
}

// Write adds to the blob.
func (i *Ingest) Write(p []byte) (int, error) {
	n, err := i.file.Write(p)
	i.hash.Write(p[:n])
	i.size += int64(n)
	return n, err
}

// Size is what was written so far, in bytes.
func (i *Ingest) Size() int64 { return i.size }

// Digest is the digest of what was written so far.
func (i *Ingest) Digest() digest.Digest { return digest.NewDigest(digest.SHA256, i.hash) }

// Commit puts the blob into the store. When want is not empty and the content
// has another digest, nothing is stored.
func (i *Ingest) Commit(want digest.Digest) (digest.Digest, error) {
	got := i.Digest()
	if want != "" && got != want {
		return "", errors.Join(fmt.Errorf("blob has digest %s, not %s", got, want), i.Discard())
	}
	if err := errors.Join(i.file.Close(), i.alive.Close()); err != nil {
		return "", errors.Join(err, os.Remove(i.file.Name()))
	}
	if err := os.Chmod(i.file.Name(), 0o644); err != nil {
		return "", errors.Join(err, os.Remove(i.file.Name()))
	}
	if err := os.Rename(i.file.Name(), i.store.path(got)); err != nil {
		return "", errors.Join(err, os.Remove(i.file.Name()))
	}
	return got, nil
}

// Discard drops the blob.
func (i *Ingest) Discard() error {
	err := i.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil // committed or discarded before
	}
	return errors.Join(err, i.alive.Close(), os.Remove(i.file.Name()))
}

// Add stores a whole blob.
func (s *Store) Add(r io.Reader, want digest.Digest) (digest.Digest, int64, error) {
	in, err := s.NewIngest()
	if err != nil {
		return "", 0, err
	}
	if _, err := io.Copy(in, r); err != nil {
		return "", 0, errors.Join(err, in.Discard())
	}
	size := in.Size()
	d, err := in.Commit(want)
	return d, size, err
}

// How long what nobody uses may stay.
const (
	freshBlob   = 15 * time.Minute    // since its last use: somebody may be about to send it to a node
	staleTemp   = time.Minute         // since the last write, when no process holds it
	staleRecord = 30 * 24 * time.Hour // of an image that was not loaded since
)

// Prune deletes the blobs that were not used for longest until the store holds
// at most limit bytes, and what killed processes left behind. What was used a
// moment ago stays: other processes load images at the same time.
func (s *Store) Prune(limit int64, now time.Time) error {
	blobs, err := listFiles(filepath.Join(s.dir, "blobs", "sha256"))
	if err != nil {
		return err
	}
	var total int64
	for _, b := range blobs {
		total += b.Size()
	}
	slices.SortFunc(blobs, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	var errs []error
	for _, b := range blobs {
		if total <= limit || b.ModTime().After(now.Add(-freshBlob)) {
			break
		}
		if err := os.Remove(filepath.Join(s.dir, "blobs", "sha256", b.Name())); !errors.Is(err, fs.ErrNotExist) { // another process pruned it
			errs = append(errs, err)
		}
		total -= b.Size()
	}
	errs = append(errs,
		removeOlder(filepath.Join(s.dir, "tmp"), now.Add(-staleTemp), abandoned),
		removeOlder(filepath.Join(s.dir, "records"), now.Add(-staleRecord), func(string) bool { return true }))
	return errors.Join(errs...)
}

func listFiles(dir string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process pruned it
		}
		if err != nil {
			return nil, err
		}
		files = append(files, info)
	}
	return files, nil
}

// abandoned reports whether no process writes a file any more.
func abandoned(path string) bool {
	lock := flock.New(path, flock.SetFlag(os.O_RDWR)) // never creates the file
	free, err := lock.TryLock()
	return errors.Join(err, lock.Close()) == nil && free
}

func removeOlder(dir string, limit time.Time, may func(path string) bool) error {
	files, err := listFiles(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if path := filepath.Join(dir, f.Name()); f.ModTime().Before(limit) && may(path) {
			if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
