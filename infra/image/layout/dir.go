package layout

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// IsLayout reports whether a path is a folder with an OCI layout.
func IsLayout(path string) bool {
	_, err := os.Stat(filepath.Join(path, "oci-layout"))
	return err == nil
}

// ReadDir reads an OCI layout folder as ReadArchive reads one in a tar file.
func (s *Store) ReadDir(ctx context.Context, dir string, opts ReadOptions) ([]NamedImage, error) {
	a := newArchive(s, opts)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			return ctx.Err()
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		header := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Size: info.Size()}
		if err := a.take(header, &cancelReader{ctx, f}); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the image layout %q: %w", dir, err)
	}
	return a.images()
}
