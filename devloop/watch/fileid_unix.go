//go:build unix

package watch

import (
	"io/fs"
	"syscall"
)

// A fileID tells directories apart; the zero value is unknown.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(s.Dev), s.Ino} //nolint:unconvert // Dev is an int32 on macOS
	}
	return fileID{}
}
