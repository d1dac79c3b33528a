package layout

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// How many locks there are. Keys that share one wait for each other without
// need, but the files stay few.
const lockCount = 256

// Lock keeps everybody else, in this process or another, from what key stands
// for until unlock is called or the process ends. Whoever has to wait calls
// waiting first.
func (s *Store) Lock(ctx context.Context, key string, waiting func()) (unlock func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	dir := filepath.Join(s.dir, "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	lock := flock.New(filepath.Join(dir, fmt.Sprintf("%02x", h.Sum32()%lockCount)))
	got, err := lock.TryLock()
	if err == nil && !got {
		waiting()
		_, err = lock.TryLockContext(ctx, 20*time.Millisecond)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(fmt.Errorf("image cache: lock: %w", err), lock.Close())
	}
	return func() { _ = lock.Unlock() }, nil
}
