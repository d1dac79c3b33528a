package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bundle is the folder in which the node's containerd keeps a running container,
// wherever that has its state: /run/containerd by default, a folder beside it in
// k3s, RKE2 and k0s, the snap's in MicroK8s. A container that does not run is
// fs.ErrNotExist.
func bundle(id string) (string, error) {
	return bundleIn([]string{"/run/containerd", "/run/*/containerd", "/var/snap/*/common/run/containerd"}, id)
}

func bundleIn(states []string, id string) (string, error) {
	if !validID.MatchString(id) || strings.Trim(id, ".") == "" {
		return "", fmt.Errorf("%q is not the id of a container", id)
	}
	for _, state := range states {
		found, err := filepath.Glob(filepath.Join(state, "io.containerd.runtime.v2.task/k8s.io", id))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("container %q does not run: %w", id, fs.ErrNotExist)
}

// Container is the file system of a running container, seen in two ways: live,
// as its processes see it, with volumes; and the layer below, where a root that is
// read-only for the processes can be written.
type Container struct {
	PID   int // of its first process, on the node
	live  *Tree
	layer *Tree
}

var validID = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// PID finds the first process of a container by its containerd id. A container
// that does not run is fs.ErrNotExist.
func PID(id string) (int, error) {
	dir, err := bundle(id)
	if err != nil {
		return 0, err
	}
	return pidIn(dir)
}

func pidIn(bundle string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(bundle, "init.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("container %q does not run: %w", filepath.Base(bundle), fs.ErrNotExist)
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

// OpenContainer opens the file system of a running container by its containerd id.
func OpenContainer(id string) (*Container, error) {
	dir, err := bundle(id)
	if err != nil {
		return nil, err
	}
	pid, err := pidIn(dir)
	if err != nil {
		return nil, err
	}
	live, err := Open(fmt.Sprintf("/proc/%d/root", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("container %q has ended: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	layer, err := Open(filepath.Join(dir, "rootfs"))
	if err != nil {
		return nil, errors.Join(err, live.Close())
	}
	return &Container{PID: pid, live: live, layer: layer}, nil
}

// Close lets go of the container.
func (c *Container) Close() error { return errors.Join(c.live.Close(), c.layer.Close()) }

// WriteFile is Tree.WriteFile as the container's processes see the path. r is
// read once or not at all when the write is refused.
func (c *Container) WriteFile(name string, mode fs.FileMode, r io.Reader) error {
	return c.do(name, func(t *Tree) error { return t.WriteFile(name, mode, r) })
}

// Mkdir is Tree.Mkdir as the container's processes see the path.
func (c *Container) Mkdir(name string, mode fs.FileMode) error {
	return c.do(name, func(t *Tree) error { return t.Mkdir(name, mode) })
}

// Symlink is Tree.Symlink as the container's processes see the path.
func (c *Container) Symlink(name, target string) error {
	return c.do(name, func(t *Tree) error { return t.Symlink(name, target) })
}

// Remove is Tree.Remove as the container's processes see the path.
func (c *Container) Remove(name string) error {
	return c.do(name, func(t *Tree) error { return t.Remove(name) })
}

// do tries f live. Where the root is read-only for the container it is done in the
// layer below; a read-only volume stays what it is.
func (c *Container) do(name string, f func(*Tree) error) error {
	err := f(c.live)
	if !errors.Is(err, unix.EROFS) {
		return err
	}
	onRoot, rootErr := c.live.onRootMount(name)
	if rootErr != nil || !onRoot {
		return errors.Join(err, rootErr)
	}
	return f(c.layer)
}

// onRootMount reports whether a path is on the same mount as the root, judged
// by the lowest of its directories that exists.
func (t *Tree) onRootMount(name string) (bool, error) {
	root, err := mountID(int(t.root.Fd()))
	if err != nil {
		return false, err
	}
	for dir := path.Dir("/" + name); ; dir = path.Dir(dir) {
		d, err := t.open("."+dir, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, fs.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return false, err
		}
		id, err := mountID(int(d.Fd()))
		return id == root, errors.Join(err, d.Close())
	}
}

func mountID(fd int) (uint64, error) {
	var s unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &s); err != nil {
		return 0, err
	}
	if s.Mask&unix.STATX_MNT_ID == 0 {
		return 0, errors.New("the node's kernel is older than 5.8: it cannot tell mounts apart")
	}
	return s.Mnt_id, nil
}
