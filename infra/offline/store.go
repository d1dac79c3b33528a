package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/berth-dev/berth/infra/progress"
)

// A store keeps the result of each step in a folder named after the step and
// the key of everything that went into it: <root>/<step>/<key>. A folder is
// there whole or not at all.
type store struct{ root string }

// newStore returns the store in the user's cache folder.
func newStore() (store, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return store{}, fmt.Errorf("find the user's cache folder: %w", err)
	}
	return store{filepath.Join(cache, "berth", "offline")}, nil
}

// keyOf is the key of a step: it changes with any of the parts.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// path is where the result of a step lies, or would lie.
func (s store) path(step, key string) string { return filepath.Join(s.root, step, key) }

// has reports whether the result of a step is there.
func (s store) has(step, key string) bool {
	_, err := os.Stat(s.path(step, key))
	return err == nil
}

// make returns the folder of a step's result, calling build to fill a new one
// when there is none. Two processes that make the same step take turns. Older
// results of the step are removed once the new one is there.
func (s store) make(ctx context.Context, step, key string, task *progress.Task, build func(dir string) error) (string, error) {
	dir := s.path(step, key)
	if s.has(step, key) {
		return dir, nil
	}
	unlock, err := s.lock(ctx, step, task)
	if err != nil {
		return "", err
	}
	defer unlock()
	if s.has(step, key) {
		return dir, nil
	}
	tmp := dir + ".part"
	if err := errors.Join(removeTree(tmp), os.MkdirAll(tmp, 0o755)); err != nil {
		return "", err
	}
	if err := build(tmp); err != nil {
		return "", errors.Join(err, removeTree(tmp))
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	return dir, s.removeOthers(step, key)
}

// lock takes the lock of a step, saying what it waits for.
func (s store) lock(ctx context.Context, step string, task *progress.Task) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(s.root, step), 0o755); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.root, step, "lock"))
	ok, err := l.TryLock()
	if err == nil && !ok {
		task.Update("waiting for another berth that makes the same")
		_, err = l.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil
}

func (s store) removeOthers(step, key string) error {
	entries, err := os.ReadDir(filepath.Join(s.root, step))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && e.Name() != key {
			errs = append(errs, removeTree(s.path(step, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeTree is os.RemoveAll that also gets rid of folders without write
// permission, which the Go module cache makes.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// size is the number of bytes of the files below dir.
func treeSize(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(d.Name(), ".lock") {
			return nil
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
