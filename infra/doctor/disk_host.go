//go:build linux || darwin

package doctor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// FreeDisk is how many bytes this user can still write where path is.
func FreeDisk(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", path, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// SameDisk reports whether two paths are on one file system.
func SameDisk(a, b string) (bool, error) {
	var s, t unix.Stat_t
	if err := errors.Join(unix.Stat(a, &s), unix.Stat(b, &t)); err != nil {
		return false, fmt.Errorf("look at %s and %s: %w", a, b, err)
	}
	return s.Dev == t.Dev, nil
}
