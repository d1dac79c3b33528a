package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/infra/problem"
)

// A localSource is what is copied from this machine.
type localSource struct {
	path    string
	name    string // its own
	dir     bool
	content bool // of a folder: what is in it, not the folder (PATH/.)
}

func newLocalSource(source string, follow bool) (localSource, error) {
	look := os.Lstat
	if follow || strings.HasSuffix(source, string(filepath.Separator)) {
		look = os.Stat
	}
	info, err := look(source)
	if err != nil {
		return localSource{}, err
	}
	if follow {
		if source, err = filepath.EvalSymlinks(source); err != nil {
			return localSource{}, err
		}
	}
	absolute, err := filepath.Abs(source)
	if err != nil {
		return localSource{}, err
	}
	content := source == "." || strings.HasSuffix(filepath.ToSlash(source), "/.")
	return localSource{path: absolute, name: filepath.Base(absolute), dir: info.IsDir(), content: content && info.IsDir()}, nil
}

// pack writes the source into w under name.
func (s localSource) pack(w *tar.Writer, name string) error {
	return filepath.WalkDir(s.path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(s.path, file)
		if err != nil {
			return err
		}
		return packFile(w, file, path.Join(name, filepath.ToSlash(relative)), d)
	})
}

func packFile(w *tar.Writer, file, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	}
	if info.Mode()&(fs.ModeSocket|fs.ModeDevice|fs.ModeNamedPipe) != 0 {
		return fmt.Errorf("%s is neither a file, a folder nor a link", file)
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	if !info.Mode().IsRegular() {
		return w.WriteHeader(h)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s: %w: it shrank while it was read", file, io.ErrUnexpectedEOF)
	}
	return err
}

// A localPlace is where on this machine something is copied to.
type localPlace struct {
	dir  string // a folder that exists
	name string // in it; "." for the folder itself
}

func (p localPlace) String() string { return filepath.Join(p.dir, p.name) }

// localTarget decides by docker cp's rules where something called base goes
// when dest is asked for.
func localTarget(dest, base string, isDir bool) (localPlace, error) {
	slash := strings.HasSuffix(filepath.ToSlash(dest), "/")
	absolute, err := filepath.Abs(dest)
	if err != nil {
		return localPlace{}, err
	}
	info, err := os.Stat(absolute)
	switch {
	case err == nil && info.IsDir():
		return localPlace{dir: absolute, name: base}, nil
	case err == nil && isDir:
		return localPlace{}, problem.New(fmt.Sprintf("%s is a file, and a folder cannot take its place", dest), nil, "name another path")
	case err == nil && slash, err != nil && !isDir && slash:
		return localPlace{}, problem.New(fmt.Sprintf("there is no folder %s", dest), nil, "make it first, or leave out the slash at the end")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return localPlace{}, err
	}
	p := localPlace{dir: filepath.Dir(absolute), name: filepath.Base(absolute)}
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return localPlace{}, problem.New(fmt.Sprintf("there is no folder %s", p.dir), nil, "make it first")
	}
	return p, nil
}

// unpack unpacks a tar whose root takes the name of p. Nothing is written
// outside p's folder, whatever the tar says. It returns how many files there were.
func (p localPlace) unpack(in io.Reader, owners bool) (int, error) {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	r := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := unpackFile(root, p.rename(h.Name), h, r, owners); err != nil {
			return n, err
		}
	}
}

// rename gives a name of the tar p's name in place of its first part.
func (p localPlace) rename(name string) string {
	_, below, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+name), "/"), "/")
	if first, _, _ := strings.Cut(name, "/"); first == "." { // "." has no part of its own
		below = strings.TrimPrefix(path.Clean("/"+name), "/")
	}
	return path.Join(p.name, below)
}

func unpackFile(root *os.Root, name string, h *tar.Header, content io.Reader, owners bool) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		if name == "." {
			return nil
		}
		if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode.Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a file, a folder nor a link", h.Name)
	}
	if owners {
		if err := root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	// A folder stays open to us while it is filled: what it holds comes after it.
	if h.Typeflag == tar.TypeDir {
		mode |= 0o700
	}
	return errors.Join(root.Chmod(name, mode.Perm()), root.Chtimes(name, h.ModTime, h.ModTime))
}
