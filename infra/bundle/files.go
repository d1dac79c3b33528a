package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/problem"
)

// leftOut are folders that are no part of a project's files.
var leftOut = []string{".git", "node_modules", ".venv", "__pycache__"}

// AddFolder puts a folder into the store as a tar: regular files, folders and
// links, with their modes, in the order of their names and without times, so
// that the same files are the same blob.
func AddFolder(ctx context.Context, store *layout.Store, kind Kind, dir string) (File, error) {
	in, err := store.NewIngest()
	if err != nil {
		return File{}, err
	}
	tw := tar.NewWriter(in)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.IsDir() && slices.Contains(leftOut, d.Name()) {
			return fs.SkipDir
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		return addFile(tw, path, filepath.ToSlash(name), d)
	})
	if err = errors.Join(err, tw.Close()); err != nil {
		return File{}, errors.Join(fmt.Errorf("pack folder %q: %w", dir, err), in.Discard())
	}
	size := in.Size()
	sum, err := in.Commit("")
	return File{Kind: kind, Digest: sum, Size: size}, err
}

func addFile(tw *tar.Writer, path, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
		return tw.WriteHeader(h)
	case !info.Mode().IsRegular():
		return nil // sockets and the like
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// AddBinary puts a program into the store as it is.
func AddBinary(store *layout.Store, path, platform string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	sum, size, err := store.Add(f, "")
	return File{Kind: KindBerth, Platform: platform, Digest: sum, Size: size}, err
}

// Extract writes a packed folder of the store to dir, which is made. Files that
// are there with other content are left alone and are a Problem; nothing is
// written outside dir, whatever the tar says.
func Extract(ctx context.Context, store *layout.Store, blob digest.Digest, dir string) error {
	f, err := store.OpenBlob(blob)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tr := tar.NewReader(f)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extractOne(root, h, tr); err != nil {
			return fmt.Errorf("write %q: %w", filepath.Join(dir, h.Name), err)
		}
	}
}

func extractOne(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(filepath.FromSlash(h.Name))
	if !filepath.IsLocal(name) {
		return errors.New("it leads out of the folder")
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, fs.FileMode(h.Mode).Perm()|0o700)
	case tar.TypeSymlink:
		if have, err := root.Readlink(name); err == nil && have == h.Linkname {
			return nil
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
	default:
		return fmt.Errorf("entries of type %q have no place in a bundle", h.Typeflag)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	have, err := root.ReadFile(name)
	switch {
	case err == nil && string(have) == string(data):
		return nil
	case err == nil:
		return problem.New("keep a changed file", errors.New("it is there already, with other content"), "choose another folder with --output")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return root.WriteFile(name, data, fs.FileMode(h.Mode).Perm())
}
