package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-dev/berth/infra/progress"
)

// An intent is what a lock file says: who holds it, and whether a creation
// began that has not come to its end. The file outlives a killed process, the
// lock does not, so the next one knows that the nodes it finds are leftovers.
type intent struct {
	PID        int       `json:"pid"`
	Since      time.Time `json:"since"`
	Engine     string    `json:"engine,omitempty"`     // ID of the engine the creation began on
	Unfinished bool      `json:"unfinished,omitempty"` // a creation or deletion began: what is there may not be whole
	Restoring  string    `json:"restoring,omitempty"`  // a checkpoint is being put in place: some nodes have it, some do not
}

// A lock keeps other berth processes of this user from changing a cluster.
type lock struct {
	file *os.File
	was  intent // what the file said when the lock was taken
}

// errLocked is what tryLock returns while another process holds the lock.
var errLocked = errors.New("held by another process")

// acquire takes the lock of a cluster, waiting for a process that has it.
func (m *Manager) acquire(ctx context.Context, name string, task *progress.Task) (*lock, error) {
	if err := os.MkdirAll(m.lockDir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(m.lockPath(name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		err := tryLock(f)
		if err == nil {
			break
		}
		if !errors.Is(err, errLocked) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if tries%5 == 0 {
			task.Update("waiting for another berth" + holder(f) + " to finish with this cluster")
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &lock{file: f, was: readIntent(f)}, nil
}

func (m *Manager) lockPath(name string) string { return filepath.Join(m.lockDir, name+".lock") }

func readIntentFile(path string) (intent, error) {
	f, err := os.Open(path)
	if err != nil {
		return intent{}, err
	}
	defer f.Close()
	return readIntent(f), nil
}

func holder(f *os.File) string {
	if pid := readIntent(f).PID; pid != 0 {
		return fmt.Sprintf(" (pid %d)", pid)
	}
	return ""
}

// readIntent reads what the file says; a new or torn file says nothing.
func readIntent(f *os.File) intent {
	var i intent
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil || json.Unmarshal(text, &i) != nil {
		return intent{}
	}
	return i
}

// note writes an intent for whoever has the lock next.
func (l *lock) note(i intent) error {
	i.PID, i.Since = os.Getpid(), time.Now()
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(text, '\n'), 0)
	return err
}

// release gives the lock up. Closing the file is what frees it; the file
// stays, since another process may be waiting on it.
func (l *lock) release() error { return l.file.Close() }

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
