package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/image/layout"
)

// leftOut are folders that are no part of a project's files.
var leftOut = []string{".git", "node_modules", ".venv", "__pycache__", ".berth"}

// Suffix is what the names of bundles end in, and Unfinished what those of
// files begin with that are being written: neither is packed into a bundle.
const (
	Suffix     = ".berth"
	Unfinished = ".bundle-"
)

// AddFolder puts a folder into the store as a tar: regular files, folders and
// links, with their modes, in the order of their names and without times, so
// that the same files are the same blob. Bundles are left out, and so are the
// files of without, by their full paths; those of instead, by their names in
// the folder, are packed with the content given there, whether they exist or not.
func AddFolder(ctx context.Context, store *layout.Store, kind Kind, dir string, without []string, instead map[string][]byte) (File, error) {
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
		if !d.IsDir() && (strings.HasSuffix(d.Name(), Suffix) || strings.HasPrefix(d.Name(), Unfinished) || slices.Contains(without, path)) {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		if _, other := instead[name]; other {
			return nil
		}
		return addFile(tw, path, filepath.ToSlash(name), d)
	})
	for _, name := range slices.Sorted(maps.Keys(instead)) {
		err = errors.Join(err, writeEntry(tw, name, 0o644, int64(len(instead[name])), bytes.NewReader(instead[name])))
	}
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
