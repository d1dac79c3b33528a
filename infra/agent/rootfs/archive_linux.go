package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what there is at a path.
type Info struct {
	Mode fs.FileMode // type and permissions
	Size int64
	Link string // of a symbolic link: where it leads
}

// Stat looks at a path as the container's processes see it, following a link
// at its end if follow is set.
func (c *Container) Stat(name string, follow bool) (Info, error) {
	h, err := c.live.header(name, follow)
	if err != nil {
		return Info{}, err
	}
	return Info{Mode: h.FileInfo().Mode(), Size: h.Size, Link: h.Linkname}, nil
}

// header describes what is at a path as a tar header without a name.
func (t *Tree) header(name string, follow bool) (*tar.Header, error) {
	p, err := t.placeOf(name, follow)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if p.none {
		return nil, &os.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return p.header()
}

// placeOf is find, for the root too.
func (t *Tree) placeOf(name string, follow bool) (*place, error) {
	if clean := path.Clean("/" + name); clean != "/" {
		return t.find(clean, follow, false)
	}
	d, err := t.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	p := &place{dir: d, name: "."}
	return p, p.look()
}

func (p *place) header() (*tar.Header, error) {
	s := p.stat
	h := &tar.Header{
		Mode: int64(s.Mode & 0o7777), Uid: int(s.Uid), Gid: int(s.Gid),
		ModTime: time.Unix(s.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, s.Size
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		var err error
		h.Linkname, err = readLink(p)
		return h, err
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	return h, nil // a socket has no type, as it has none in a tar
}

// Archive writes what is at a path and below as a tar, its root called base,
// as the container's processes see it, volumes included. Links below are
// archived, not followed; sockets and file systems of the kernel are left out.
func (c *Container) Archive(name string, follow bool, base string, out io.Writer) error {
	p, err := c.live.placeOf(name, follow)
	if err != nil {
		return err
	}
	defer p.close()
	if p.none {
		return &os.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	w := tar.NewWriter(out)
	if err := p.archive(w, base); err != nil {
		return err
	}
	return w.Close()
}

func (p *place) archive(w *tar.Writer, name string) error {
	h, err := p.header()
	if err != nil || h.Typeflag == 0 {
		return err
	}
	h.Name = name
	switch h.Typeflag {
	case tar.TypeReg:
		return p.archiveFile(w, h)
	case tar.TypeDir:
		h.Name += "/"
		return p.archiveDir(w, h)
	}
	return w.WriteHeader(h)
}

func (p *place) archiveFile(w *tar.Writer, h *tar.Header) error {
	fd, err := unix.Openat(p.fd(), p.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: h.Name, Err: err}
	}
	f := os.NewFile(uintptr(fd), h.Name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err)
	}
	h.Size = info.Size() // it may have grown since
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s: %w: it shrank while it was read", h.Name, io.ErrUnexpectedEOF)
	}
	return err
}

func (p *place) archiveDir(w *tar.Writer, h *tar.Header) error {
	fd, err := unix.Openat(p.fd(), p.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: h.Name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), h.Name)
	defer dir.Close()
	if (&place{dir: dir}).writable() != nil { // the kernel's: nothing in it is the container's
		return nil
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		child := place{dir: dir, name: name}
		if err := child.look(); err != nil {
			return err
		}
		if child.none {
			continue
		}
		if err := child.archive(w, h.Name+name); err != nil {
			return err
		}
	}
	return nil
}

// Extract unpacks a tar into a directory that exists, as the container's
// processes see it. Names stay below the directory; files that are there are
// replaced, directories are kept. With owners everything gets the owner that
// the tar says, else root. It returns how many entries there were.
func (c *Container) Extract(dir string, in io.Reader, owners bool) (int, error) {
	d, err := c.live.header(dir, true)
	if err != nil {
		return 0, err
	}
	if d.Typeflag != tar.TypeDir {
		return 0, &os.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	r := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read the archive: %w", err)
		}
		name := path.Join("/", dir, path.Clean("/"+h.Name))
		if !owners {
			h.Uid, h.Gid = 0, 0
		}
		if err := c.live.extract(name, dir, h, r); err != nil {
			return n, err
		}
	}
}

func (t *Tree) extract(name, dir string, h *tar.Header, content io.Reader) error {
	if path.Clean(name) == path.Clean("/"+dir) {
		return nil // the directory itself stays what it is
	}
	var err error
	follow := true
	switch h.Typeflag {
	case tar.TypeReg:
		err = t.WriteFile(name, fs.FileMode(h.Mode).Perm(), content)
	case tar.TypeDir:
		err = t.Mkdir(name, 0o700)
	case tar.TypeSymlink:
		follow = false
		err = t.Symlink(name, h.Linkname)
	case tar.TypeLink:
		return t.hardLink(name, path.Join("/", dir, path.Clean("/"+h.Linkname)))
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return &os.PathError{Op: "write", Path: name, Err: errors.New("only files, directories and links can be copied")}
	}
	if err != nil {
		return err
	}
	return t.setAttributes(name, follow, h)
}

// setAttributes gives what is at a path the owner, permissions and time of h.
func (t *Tree) setAttributes(name string, follow bool, h *tar.Header) error {
	p, err := t.find(name, follow, false)
	if err != nil {
		return err
	}
	defer p.close()
	err = unix.Fchownat(p.fd(), p.name, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && !p.is(unix.S_IFLNK) {
		err = p.chmod(uint32(h.Mode) & 0o7777)
	}
	if err == nil {
		now := unix.NsecToTimespec(time.Now().UnixNano())
		err = unix.UtimesNanoAt(p.fd(), p.name, []unix.Timespec{now, unix.NsecToTimespec(h.ModTime.UnixNano())}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

func (t *Tree) hardLink(name, target string) error {
	from, err := t.find(target, true, false)
	if err != nil {
		return err
	}
	defer from.close()
	to, err := t.find(name, false, true)
	if err != nil {
		return err
	}
	defer to.close()
	if err := vacate(to); err != nil {
		return err
	}
	if err := unix.Linkat(from.fd(), from.name, to.fd(), to.name, 0); err != nil {
		return &os.LinkError{Op: "link", Old: strings.TrimPrefix(target, "/"), New: name, Err: err}
	}
	return nil
}
