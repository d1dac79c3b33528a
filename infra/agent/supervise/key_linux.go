package supervise

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// keyName names the file in a supervisor's memory that holds what its requests
// must carry. The other containers of the pod reach the socket, but no process of
// this one, and who they are does not show: they and the node's agent have the
// same process number, 0, and often the same user.
const keyName = "berth-init-key"

// newKey makes a key and the file, which must stay open.
func newKey() (string, *os.File, error) {
	fd, err := unix.MemfdCreate(keyName, unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("make the key of the control socket: %w", err)
	}
	f, key := os.NewFile(uintptr(fd), keyName), rand.Text()
	if _, err := f.WriteString(key); err != nil {
		return "", nil, errors.Join(err, f.Close())
	}
	return key, f, nil
}

// keyOf reads the key of the supervisor that has this pid on the node, "" when
// the process has none.
func keyOf(pid int) (string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, d := range open {
		file := filepath.Join(dir, d.Name())
		target, err := os.Readlink(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return "", err
		}
		if target == "/memfd:"+keyName+" (deleted)" {
			key, err := os.ReadFile(file)
			return string(key), err
		}
	}
	return "", nil
}
