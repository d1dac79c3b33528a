package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say how a tree is copied. The zero value copies all of it.
type Options struct {
	Skip func(path string) bool // source paths that are left out, with what is below them
	// Link says of a directory of the source that the files below it never change
	// in place: they are hard-linked, not copied. Source and copy must be reached
	// through one mount then.
	Link func(dir string) bool
}

// Stats say what Copy did.
type Stats struct {
	Entries  int      // files, directories, links ... below the top
	Linked   int      // those of them that are hard links to the source
	Bytes    int64    // content that was copied, holes left out
	Warnings []string // attributes that the destination cannot store
}

// Add counts what other did, too.
func (s *Stats) Add(other Stats) {
	s.Entries += other.Entries
	s.Linked += other.Linked
	s.Bytes += other.Bytes
	s.Warnings = append(s.Warnings, other.Warnings...)
}

// Copy copies what is below the directory src into the directory dst, which
// exists, and gives dst the attributes of src.
func Copy(ctx context.Context, src, dst string, o Options) (Stats, error) {
	c := &copier{ctx: ctx, options: o, links: map[inode]string{}}
	err := c.fill(src, dst, false)
	return c.stats, err
}

// copier copies one tree.
type copier struct {
	ctx     context.Context
	options Options
	links   map[inode]string // where files with several names were copied to
	stats   Stats
}

type inode struct{ dev, ino uint64 }

// dir copies the directory src to dst, which it makes.
func (c *copier) dir(src, dst string, link bool) error {
	if err := os.Mkdir(dst, 0o700); err != nil {
		return err
	}
	c.stats.Entries++
	return c.fill(src, dst, link)
}

// fill copies what is in the directory src into dst. link is what Options.Link
// said of a directory above.
func (c *copier) fill(src, dst string, link bool) error {
	link = link || c.options.Link != nil && c.options.Link(src)
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return context.Cause(c.ctx)
		}
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		if c.options.Skip != nil && c.options.Skip(from) {
			continue
		}
		switch {
		case e.IsDir():
			err = c.dir(from, to, link)
		case link:
			err = c.link(from, to)
		default:
			err = c.file(from, to)
		}
		if err != nil {
			return err
		}
	}
	// After the content, which would change times and may need the owner's rights.
	return c.attributes(src, dst)
}

// link gives a file that never changes a second name, unless it has as many as
// the file system allows.
func (c *copier) link(src, dst string) error {
	err := os.Link(src, dst)
	if errors.Is(err, unix.EMLINK) {
		return c.file(src, dst)
	}
	if err == nil {
		c.stats.Entries++
		c.stats.Linked++
	}
	return err
}

func (c *copier) file(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	id := inode{stat.Dev, stat.Ino}
	if first, ok := c.links[id]; ok {
		c.stats.Entries++
		return os.Link(first, dst)
	}
	switch {
	case info.Mode().IsRegular():
		err = c.content(src, dst)
	case info.Mode()&os.ModeSymlink != 0:
		var target string
		if target, err = os.Readlink(src); err == nil {
			err = os.Symlink(target, dst)
		}
	default: // devices, pipes and sockets
		if err = unix.Mknod(dst, stat.Mode, int(stat.Rdev)); err != nil {
			err = &os.PathError{Op: "mknod", Path: dst, Err: err}
		}
	}
	if err != nil {
		return err
	}
	if stat.Nlink > 1 {
		c.links[id] = dst
	}
	c.stats.Entries++
	return c.attributes(src, dst)
}

func (c *copier) content(src, dst string) error {
	in, err := os.OpenFile(src, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil { // shares all blocks
		return out.Close()
	}
	return errors.Join(c.data(in, out), out.Close())
}

// data copies what a file holds between its holes.
func (c *copier) data(in, out *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	for at := int64(0); ; {
		from, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // no data behind at
			return out.Truncate(info.Size())
		}
		if errors.Is(err, unix.EINVAL) { // the file system knows no holes
			n, err := io.Copy(out, in)
			c.stats.Bytes += n
			return err
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(from, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := in.Seek(from, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(from, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(out, in, at-from) // in the kernel
		c.stats.Bytes += n
		if errors.Is(err, io.EOF) { // somebody cut the file meanwhile
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// attributes gives dst the owner, mode, extended attributes and times of src, in the
// order in which none undoes another.
func (c *copier) attributes(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(dst, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink == 0 {
		if err := unix.Chmod(dst, stat.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: dst, Err: err}
		}
	}
	if err := c.xattrs(src, dst); err != nil {
		return err
	}
	return Times(src, dst)
}

// Attributes gives the directory dst the owner, mode, extended attributes and
// times of the directory src. What it cannot store Copy has reported.
func Attributes(src, dst string) error {
	c := &copier{}
	return c.attributes(src, dst)
}

// Times gives dst the times of src.
func Times(src, dst string) error {
	var stat unix.Stat_t
	if err := unix.Lstat(src, &stat); err != nil {
		return &os.PathError{Op: "lstat", Path: src, Err: err}
	}
	times := []unix.Timespec{stat.Atim, stat.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dst, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: dst, Err: err}
	}
	return nil
}

// xattrs copies the extended attributes: file capabilities, access lists, the
// user's own. SELinux labels belong to the place, not to the file.
func (c *copier) xattrs(src, dst string) error {
	names, err := listXattrs(src)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "security.selinux" {
			continue
		}
		value, err := getXattr(src, name)
		if err != nil {
			return err
		}
		switch err := unix.Lsetxattr(dst, name, value, 0); {
		case errors.Is(err, unix.ENOTSUP):
			c.stats.Warnings = append(c.stats.Warnings, fmt.Sprintf("the destination cannot store attribute %s of %s", name, src))
		case err != nil:
			return &os.PathError{Op: "setxattr " + name, Path: dst, Err: err}
		}
	}
	return nil
}

func listXattrs(path string) ([]string, error) {
	raw, err := grown(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == 0 }), nil
}

func getXattr(path, name string) ([]byte, error) {
	value, err := grown(func(buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
	if err != nil {
		return nil, &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
	}
	return value, nil
}

// grown calls read with ever more room until what it reads fits.
func grown(read func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := read(buf)
		if !errors.Is(err, unix.ERANGE) {
			return buf[:max(n, 0)], err
		}
	}
}
