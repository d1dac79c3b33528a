package volume

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// copier copies one tree.
type copier struct {
	ctx    context.Context
	dst    string
	mounts map[string]bool  // places below the source that are mounts
	links  map[inode]string // where files with several names were copied to
	result Result
}

type inode struct{ dev, ino uint64 }

// dir copies the directory src into dst, which exists for the top one and is
// made for all others.
func (c *copier) dir(src, dst string, top bool) error {
	if !top {
		if err := os.Mkdir(dst, 0o700); err != nil {
			return err
		}
		c.result.Entries++
	}
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return context.Cause(c.ctx)
		}
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		// A lost+found of the image is the file system's that the image was made on.
		if c.mounts[from] || (top && (e.Name() == marker || e.Name() == "lost+found")) {
			continue
		}
		if err := c.entry(from, to); err != nil {
			return err
		}
	}
	// After the content, which would change times and may need the owner's rights.
	return c.attributes(src, dst)
}

func (c *copier) entry(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return c.dir(src, dst, false)
	}
	stat := info.Sys().(*syscall.Stat_t)
	id := inode{stat.Dev, stat.Ino}
	if first, ok := c.links[id]; ok {
		c.result.Entries++
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
	c.result.Entries++
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
	n, err := io.Copy(out, in) // the kernel copies, shares blocks where it can
	c.result.Bytes += n
	return errors.Join(err, out.Close())
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
	return c.times(src, dst)
}

func (c *copier) times(src, dst string) error {
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
			c.result.Warnings = append(c.result.Warnings, fmt.Sprintf("the volume cannot store attribute %s of %s", name, src))
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

// mountsBelow lists the mount points below dir: a pod has some in its file
// system (/etc/hosts, /dev, other volumes) that are not the image's.
func mountsBelow(dir string) (map[string]bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // ID parent major:minor root mountpoint ...
		if len(fields) < 5 {
			continue
		}
		if place := unescape(fields[4]); strings.HasPrefix(place, strings.TrimSuffix(dir, "/")+"/") {
			found[place] = true
		}
	}
	return found, lines.Err()
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
