package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a directory that is the root of all paths given to its methods.
// Symbolic links are followed as a process would that has this root.
type Tree struct{ root *os.File }

// Open opens the tree below dir.
func Open(dir string) (*Tree, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Tree{os.NewFile(uintptr(fd), dir)}, nil
}

// Close lets go of the tree.
func (t *Tree) Close() error { return t.root.Close() }

// open opens a path below dir with the tree's root as its root.
func (t *Tree) open(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(t.root.Fd()), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // something was renamed meanwhile
		case errors.Is(err, unix.ENOSYS):
			return nil, fmt.Errorf("the node's kernel is older than 5.6: it cannot keep writes inside a container")
		default:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// place is a name in an open directory. There may be nothing of that name, but
// never a symbolic link when it was found by following.
type place struct {
	dir  *os.File
	name string
	stat unix.Stat_t
	none bool // there is nothing
}

func (p *place) close() { _ = p.dir.Close() }

func (p *place) fd() int { return int(p.dir.Fd()) }

func (p *place) is(kind uint32) bool { return !p.none && p.stat.Mode&unix.S_IFMT == kind }

func (p *place) look() error {
	err := unix.Fstatat(p.fd(), p.name, &p.stat, unix.AT_SYMLINK_NOFOLLOW)
	p.none = errors.Is(err, unix.ENOENT)
	if p.none {
		return nil
	}
	return err
}

// errRoot is an operation on the root itself.
var errRoot = errors.New("the root of the container cannot be replaced")

// find returns the place of a path. Links in its directories are followed, one
// at its end if follow is set. With parents, directories that are missing are made.
func (t *Tree) find(name string, follow, parents bool) (*place, error) {
	const mostLinks = 40 // as the kernel
	for range mostLinks {
		name = strings.TrimRight(name, "/")
		dir, base := path.Split(name)
		if base == "" || base == "." || base == ".." {
			return nil, errRoot
		}
		parent, err := t.directory(dir, parents)
		if err != nil {
			return nil, err
		}
		p := &place{dir: parent, name: base}
		if err := p.look(); err != nil {
			p.close()
			return nil, &os.PathError{Op: "stat", Path: name, Err: err}
		}
		if !follow || !p.is(unix.S_IFLNK) {
			return p, nil
		}
		target, err := readLink(p)
		p.close()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(target, "/") {
			name = target
		} else {
			name = dir + target // not cleaned: ".." after a link is the kernel's to resolve
		}
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
}

func readLink(p *place) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(p.fd(), p.name, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: p.name, Err: err}
	}
	return string(buf[:n]), nil
}

// directory opens a directory. With parents those that are missing are made, with
// the owner of the one they are in: a program that may write there may go on to.
func (t *Tree) directory(name string, parents bool) (*os.File, error) {
	clean := strings.Trim(name, "/")
	if clean == "" {
		clean = "."
	}
	d, err := t.open(clean, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil || !parents || !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	p, err := t.find("/"+clean, true, true)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.mkdir(0o755); err != nil {
		return nil, err
	}
	return t.open(clean, unix.O_RDONLY|unix.O_DIRECTORY)
}

// mkdir makes a directory, with the owner of the one it is in.
func (p *place) mkdir(mode uint32) error {
	if err := unix.Mkdirat(p.fd(), p.name, 0o700); err != nil {
		if errors.Is(err, unix.EEXIST) && !p.none {
			err = unix.ENOTDIR
		}
		return &os.PathError{Op: "mkdir", Path: p.name, Err: err}
	}
	return errors.Join(p.adopt(), p.chmod(mode))
}

// chmod sets the permissions of what is at the place. A link that a program has
// put there meanwhile is an error: it might lead out of the container. (fchmodat
// itself follows links, and only Linux 6.6 knows one that does not.)
func (p *place) chmod(mode uint32) error {
	fd, err := unix.Openat(p.fd(), p.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "chmod", Path: p.name, Err: err}
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = unix.ELOOP
	}
	if err == nil {
		err = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
	}
	if err != nil {
		return &os.PathError{Op: "chmod", Path: p.name, Err: err}
	}
	return nil
}

// adopt gives what is at the place the owner of its directory.
func (p *place) adopt() error {
	var parent unix.Stat_t
	if err := unix.Fstat(p.fd(), &parent); err != nil {
		return err
	}
	return unix.Fchownat(p.fd(), p.name, int(parent.Uid), int(parent.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// WriteFile makes the file called name hold what r gives. A file that is there
// keeps owner and mode and is replaced at once, so that no reader sees half of it;
// a new one gets mode and the owner of its directory. A link is followed, a
// directory in the way is removed.
func (t *Tree) WriteFile(name string, mode fs.FileMode, r io.Reader) error {
	p, err := t.find(name, true, true)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.writable(); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	if p.is(unix.S_IFDIR) {
		if err := vacate(p); err != nil {
			return err
		}
	} else if !p.none && !p.is(unix.S_IFREG) {
		return &os.PathError{Op: "write", Path: name, Err: errors.New("what is there is no regular file")}
	}
	temporary := place{dir: p.dir, name: fmt.Sprintf(".berth-sync-%016x", rand.Uint64()), none: true}
	f, err := temporary.create()
	if err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = p.finish(f, mode)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = unix.Renameat(p.fd(), temporary.name, p.fd(), p.name)
	}
	if err == nil {
		return nil
	}
	defer unix.Unlinkat(p.fd(), temporary.name, 0)
	if errors.Is(err, unix.EBUSY) { // the file itself is mounted and cannot be replaced
		err = p.overwrite(temporary.name)
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

func (p *place) create() (*os.File, error) {
	fd, err := unix.Openat(p.fd(), p.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), p.name), nil
}

// finish gives f owner and mode of the file that it replaces, or those of a new one.
func (p *place) finish(f *os.File, mode fs.FileMode) error {
	if p.is(unix.S_IFREG) {
		if err := f.Chown(int(p.stat.Uid), int(p.stat.Gid)); err != nil {
			return err
		}
		return unix.Fchmod(int(f.Fd()), p.stat.Mode&0o7777)
	}
	var parent unix.Stat_t
	if err := unix.Fstat(p.fd(), &parent); err != nil {
		return err
	}
	return errors.Join(f.Chown(int(parent.Uid), int(parent.Gid)), f.Chmod(mode.Perm()))
}

// overwrite copies the temporary file into the one that is there.
func (p *place) overwrite(temporary string) error {
	in, err := unix.Openat(p.fd(), temporary, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(in), temporary)
	defer source.Close()
	out, err := unix.Openat(p.fd(), p.name, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(out), p.name)
	_, err = io.Copy(f, source)
	return errors.Join(err, f.Close())
}

// writable refuses file systems that are the kernel's and not the container's.
func (p *place) writable() error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(p.fd(), &s); err != nil {
		return err
	}
	switch s.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return errors.New("it is in a file system of the kernel")
	}
	return nil
}

// Mkdir makes a directory and those above it that are missing. One that is
// there, or a link that leads to one, stays; anything else in the way is removed.
func (t *Tree) Mkdir(name string, mode fs.FileMode) error {
	if strings.Trim(name, "/") == "" {
		return nil
	}
	p, err := t.find(name, true, true)
	if err != nil {
		return err
	}
	defer p.close()
	if p.is(unix.S_IFDIR) {
		return nil
	}
	if err := p.writable(); err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if err := vacate(p); err != nil {
		return err
	}
	return p.mkdir(uint32(mode.Perm()))
}

// Symlink makes a symbolic link. Whatever has the name already is replaced.
func (t *Tree) Symlink(name, target string) error {
	p, err := t.find(name, false, true)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.writable(); err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	if p.is(unix.S_IFLNK) {
		if have, err := readLink(p); err == nil && have == target {
			return nil
		}
	}
	if p.is(unix.S_IFDIR) {
		if err := vacate(p); err != nil {
			return err
		}
	}
	temporary := place{dir: p.dir, name: fmt.Sprintf(".berth-sync-%016x", rand.Uint64())}
	if err := unix.Symlinkat(target, p.fd(), temporary.name); err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	if err = temporary.adopt(); err == nil {
		err = unix.Renameat(p.fd(), temporary.name, p.fd(), p.name)
	}
	if err != nil {
		err = &os.PathError{Op: "symlink", Path: name, Err: errors.Join(err, unix.Unlinkat(p.fd(), temporary.name, 0))}
	}
	return err
}

// Remove removes what has the name, a directory with all in it. A link is
// removed, not what it leads to, and mounts below a directory stay, with the
// directories they are in. Nothing there is no error.
func (t *Tree) Remove(name string) error {
	p, err := t.find(name, false, false)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.writable(); err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	_, err = removeAll(p)
	return err
}

// vacate makes room for something else at the place.
func vacate(p *place) error {
	kept, err := removeAll(p)
	if kept {
		return &os.PathError{Op: "replace", Path: p.name, Err: errors.New("something is mounted there")}
	}
	return err
}

// removeAll removes what is at the place. kept reports that there is a mount,
// which stays.
func removeAll(p *place) (kept bool, err error) {
	flags := 0
	switch {
	case p.none:
		return false, nil
	case p.is(unix.S_IFDIR):
		if kept, err = removeContent(p); err != nil || kept {
			return kept, err
		}
		flags = unix.AT_REMOVEDIR
	}
	switch err := unix.Unlinkat(p.fd(), p.name, flags); {
	case err == nil, errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.EBUSY): // a mounted file
		return true, nil
	default:
		return false, &os.PathError{Op: "remove", Path: p.name, Err: err}
	}
}

func removeContent(p *place) (kept bool, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH,
	}
	fd, err := unix.Openat2(p.fd(), p.name, &how)
	if errors.Is(err, unix.EXDEV) {
		return true, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "remove", Path: p.name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), p.name)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		child := place{dir: dir, name: name}
		if err := child.look(); err != nil {
			return false, err
		}
		childKept, err := removeAll(&child)
		if err != nil {
			return false, err
		}
		kept = kept || childKept
	}
	return kept, nil
}
