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

// marker is in a volume from the first to the last moment of its copy. Found
// by a later copy it tells that what is there is half a copy and nobody's data:
// the service does not start before its volume is complete.
const marker = ".berth-copying"

// Result says what Copy did.
type Result struct {
	Copied bool   // false when the volume was not empty, or there is nothing to copy
	Reason string // why not
	tree.Stats
}

// Copy copies the directory src into the volume dst, with owners, modes, times,
// extended attributes, symbolic and hard links, and gives dst the owner and mode
// of src. It does so only if dst is empty but for lost+found, or holds a copy
// that was interrupted, which it does anew. Mounts below src are left out. Two
// copies into one volume take turns.
func Copy(ctx context.Context, src, dst string) (Result, error) {
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
	root, err := os.Open(dst)
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	if err := lock(ctx, root); err != nil {
		return Result{}, fmt.Errorf("wait for another copy into %s: %w", dst, err)
	}
	if proceed, err := prepare(dst); err != nil || !proceed {
		return Result{Reason: "the volume is not empty"}, err
	}
	if err := createMarker(dst); err != nil {
		return Result{}, err
	}
	mounts, err := mountsBelow(src)
	if err != nil {
		return Result{}, err
	}
	own := map[string]bool{filepath.Join(src, marker): true, filepath.Join(src, "lost+found"): true}
	stats, err := tree.Copy(ctx, src, dst, tree.Options{Skip: func(path string) bool {
		// A lost+found of the image is the file system's that the image was made on.
		return mounts[path] || own[path]
	}})
	if err != nil {
		return Result{}, err
	}
	// The marker must not be gone before the copy is on the disk.
	if err := unix.Syncfs(int(root.Fd())); err != nil {
		return Result{}, fmt.Errorf("sync %s: %w", dst, err)
	}
	if err := os.Remove(filepath.Join(dst, marker)); err != nil {
		return Result{}, err
	}
	// Removing the marker has changed the time of the directory.
	if err := tree.Times(src, dst); err != nil {
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

// prepare reports whether the volume may be filled, and clears away half a copy.
func prepare(dst string) (bool, error) {
	entries, err := os.ReadDir(dst)
	if err != nil {
		return false, err
	}
	interrupted, empty := false, true
	for _, e := range entries {
		switch e.Name() {
		case marker:
			interrupted = true
		case "lost+found":
		default:
			empty = false
		}
	}
	if empty || !interrupted {
		return empty, nil
	}
	for _, e := range entries {
		if e.Name() == marker || e.Name() == "lost+found" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dst, e.Name())); err != nil {
			return false, err
		}
	}
	return true, nil
}

// createMarker makes the marker and puts it on the disk before anything else.
func createMarker(dst string) error {
	f, err := os.OpenFile(filepath.Join(dst, marker), os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	d, err := os.Open(dst)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
