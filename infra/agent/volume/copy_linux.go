package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/tree"
)

// A copy is made beside what the volume holds and takes its place when it is
// whole: another service may write into the volume all the time, and nothing of
// that may be taken for a part of a copy that was interrupted.
const (
	copying = ".berth-copying" // what is being copied
	copied  = ".berth-copied"  // what is whole, while it takes its place
)

// Result says what Copy did.
type Result struct {
	Copied bool   // false when the volume was not empty, or there is nothing to copy
	Reason string // why not
	tree.Stats
}

// Copy copies the directory src into the volume dst, with owners, modes, times,
// extended attributes, symbolic and hard links, and gives dst the owner and mode
// of src. It does so only if dst is empty but for lost+found, or a copy was
// begun when it was; what has come into the volume since then stays. Mounts
// below src are left out. Two copies into one volume take turns, and whoever has
// nothing to copy waits for one that is under way.
func Copy(ctx context.Context, src, dst string) (Result, error) {
	root, err := os.Open(dst)
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	if err := lock(ctx, root); err != nil {
		return Result{}, fmt.Errorf("wait for another copy into %s: %w", dst, err)
	}
	info, err := os.Stat(src)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{Reason: "the image has nothing there"}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if !info.IsDir() {
		return Result{}, fmt.Errorf("%s is not a directory in the image", src)
	}
	if src, err = filepath.EvalSymlinks(src); err != nil {
		return Result{}, err
	}
	state, err := stateOf(dst)
	if err != nil {
		return Result{}, err
	}
	var stats tree.Stats
	switch state {
	case occupied:
		return Result{Reason: "the volume is not empty"}, nil
	case fillable:
		if stats, err = fill(ctx, src, dst, root); err != nil {
			return Result{}, err
		}
	}
	if err := settle(src, dst, root); err != nil {
		return Result{}, err
	}
	return Result{Copied: true, Stats: stats}, nil
}

// lock waits until no other process copies into the directory. The lock ends
// with the process, however that ends.
func lock(ctx context.Context, dir *os.File) error {
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// A state is what a copy finds in a volume.
type state int

const (
	fillable state = iota // nothing, or a copy that was not finished
	occupied              // somebody's data
	whole                 // a copy that has not all taken its place
)

func stateOf(dst string) (state, error) {
	entries, err := os.ReadDir(dst)
	if err != nil {
		return 0, err
	}
	found := map[string]bool{}
	data := false
	for _, e := range entries {
		found[e.Name()] = true
		data = data || e.Name() != copying && e.Name() != copied && e.Name() != "lost+found"
	}
	switch {
	case found[copied]:
		return whole, nil
	case found[copying] || !data:
		return fillable, nil
	}
	return occupied, nil
}

// fill copies src to where it is whole and on the disk, or not at all.
func fill(ctx context.Context, src, dst string, root *os.File) (tree.Stats, error) {
	begun := filepath.Join(dst, copying)
	if err := os.RemoveAll(begun); err != nil {
		return tree.Stats{}, err
	}
	if err := os.Mkdir(begun, 0o700); err != nil {
		return tree.Stats{}, err
	}
	if err := root.Sync(); err != nil { // a copy that was begun is known as one after a power cut, too
		return tree.Stats{}, err
	}
	mounts, err := mountsBelow(src)
	if err != nil {
		return tree.Stats{}, err
	}
	own := map[string]bool{}
	for _, name := range []string{copying, copied, "lost+found"} {
		own[filepath.Join(src, name)] = true
	}
	stats, err := tree.Copy(ctx, src, begun, tree.Options{Skip: func(path string) bool {
		// A lost+found of the image is the file system's that the image was made on.
		return mounts[path] || own[path]
	}})
	if err != nil {
		return tree.Stats{}, err
	}
	if err := unix.Syncfs(int(root.Fd())); err != nil {
		return tree.Stats{}, fmt.Errorf("sync %s: %w", dst, err)
	}
	return stats, os.Rename(begun, filepath.Join(dst, copied))
}

// settle has a whole copy take its place, and gives the volume the owner, mode
// and times of src.
func settle(src, dst string, root *os.File) error {
	done := filepath.Join(dst, copied)
	if err := merge(done, dst); err != nil {
		return err
	}
	if err := tree.Attributes(src, dst); err != nil {
		return err
	}
	if err := unix.Syncfs(int(root.Fd())); err != nil { // what has moved, before where from
		return fmt.Errorf("sync %s: %w", dst, err)
	}
	if err := os.RemoveAll(done); err != nil {
		return err
	}
	return tree.Times(src, dst) // removing has changed them
}

// merge moves what is in the directory from into the directory to. What is
// there already stays: a service has written it since the copy was begun.
func merge(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		old, place := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		err := move(old, place)
		if errors.Is(err, fs.ErrExist) {
			err = nil
			if there, statErr := os.Lstat(place); statErr == nil && there.IsDir() && e.IsDir() {
				err = merge(old, place)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// move renames unless the new name is taken. Not every file system (NFS) can do
// both in one step.
func move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if _, err = os.Lstat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
