package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
)

// A Folder is where the files of a bundle go. Nothing is written outside it,
// whatever the bundle says and whatever links it holds.
type Folder struct {
	root *os.Root
	dir  string
}

// OpenFolder opens a folder, which is made when it is missing.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{root, dir}, nil
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Extract writes a packed folder of the store to the folder below, "." for the
// Folder itself. Files appear whole, so an interrupted Extract goes on where it
// was; those that are there with other content are left alone and are a Problem.
func (f *Folder) Extract(ctx context.Context, store *layout.Store, blob digest.Digest, below string) error {
	in, err := store.OpenBlob(blob)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := f.root.MkdirAll(below, 0o755); err != nil {
		return fmt.Errorf("write %q: %w", filepath.Join(f.dir, below), err)
	}
	tr := tar.NewReader(&counter{ctx: ctx, r: in, add: func(int) {}})
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.extractOne(h, tr, below); err != nil {
			return fmt.Errorf("write %q: %w", filepath.Join(f.dir, below, h.Name), err)
		}
	}
}

func (f *Folder) extractOne(h *tar.Header, r io.Reader, below string) error {
	name := filepath.Clean(filepath.FromSlash(h.Name))
	if !filepath.IsLocal(name) {
		return errors.New("it leads out of the folder")
	}
	name = filepath.Join(below, name)
	switch h.Typeflag {
	case tar.TypeDir:
		return f.root.MkdirAll(name, fs.FileMode(h.Mode).Perm()|0o700)
	case tar.TypeSymlink:
		if have, err := f.root.Readlink(name); err == nil && have == h.Linkname {
			return nil
		}
		return f.root.Symlink(h.Linkname, name)
	case tar.TypeReg:
	default:
		return fmt.Errorf("entries of type %q have no place in a bundle", h.Typeflag)
	}
	have, err := f.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f.write(name, fs.FileMode(h.Mode).Perm(), r)
	}
	if err != nil {
		return err
	}
	defer have.Close()
	same, err := sameContent(have, r)
	if err == nil && !same {
		err = problem.New("keep a changed file", errors.New("it is there already, with other content"), "choose another folder with --output")
	}
	return err
}

// Copy writes a file of the store under a name, in place of what is there.
func (f *Folder) Copy(ctx context.Context, store *layout.Store, blob digest.Digest, name string, mode fs.FileMode) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("write %q: it leads out of the folder", name)
	}
	in, err := store.OpenBlob(blob)
	if err != nil {
		return err
	}
	defer in.Close()
	if err = f.root.MkdirAll(filepath.Dir(name), 0o755); err == nil {
		err = f.write(name, mode, &counter{ctx: ctx, r: in, add: func(int) {}})
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", filepath.Join(f.dir, name), err)
	}
	return nil
}

// write makes a file appear whole: under another name first, which one that was
// interrupted leaves behind and the next one takes over.
func (f *Folder) write(name string, mode fs.FileMode, r io.Reader) (err error) {
	unfinished := filepath.Join(filepath.Dir(name), Unfinished+filepath.Base(name))
	if err := f.root.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := f.root.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		err = f.root.Rename(unfinished, name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(unfinished))
	}
	return nil
}

// sameContent compares what two readers have left.
func sameContent(a, b io.Reader) (bool, error) {
	left, right := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, left)
		m, other := io.ReadFull(b, right)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case err != nil && !ended:
			return false, err
		case other != nil && !errors.Is(other, io.EOF) && !errors.Is(other, io.ErrUnexpectedEOF):
			return false, other
		case !bytes.Equal(left[:n], right[:m]):
			return false, nil
		case ended:
			return true, nil
		}
	}
}
