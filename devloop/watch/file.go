package watch

import (
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A file is what the index knows of a file, symlink or link target.
type file struct {
	size   int64
	mtime  int64  // nanoseconds
	hash   uint64 // of the content; valid if hashed
	mode   fs.FileMode
	hashed bool
	racy   bool // was written so recently that a later write may have left the same time
}

const (
	// hashLimit is the size up to which content is compared. Larger files count
	// as changed when their size or time changes.
	hashLimit = 32 << 20
	// racyFor is how long two writes of a file may carry the same time.
	racyFor = 20 * time.Millisecond
)

// fileOf makes the index entry of a file, without its hash.
func fileOf(info fs.FileInfo, now time.Time) file {
	return file{
		size: info.Size(), mtime: info.ModTime().UnixNano(), mode: info.Mode(),
		racy: now.Sub(info.ModTime()) < racyFor,
	}
}

// stats reports whether f and g look the same from outside.
func (f file) stats(g file) bool { return f.size == g.size && f.mtime == g.mtime && f.mode == g.mode }

// content fills in the hash. A file that cannot be read stays without one.
func (f *file) content(name string) {
	f.hashed = false
	if f.mode&fs.ModeSymlink != 0 {
		if target, err := os.Readlink(name); err == nil {
			f.hash, f.hashed = xxhash.Sum64String(target), true
		}
		return
	}
	if f.size > hashLimit {
		return
	}
	r, err := os.Open(name)
	if err != nil {
		return
	}
	defer func() { _ = r.Close() }()
	h := xxhash.New()
	buffer := make([]byte, min(max(f.size+1, 512), 32<<10)) // io.Copy would take the most for each of many small files
	if _, err := io.CopyBuffer(h, io.LimitReader(r, hashLimit), buffer); err == nil {
		f.hash, f.hashed = h.Sum64(), true
	}
}

// same reports whether g, read later, is the same file content with the same
// permissions.
func (f file) same(g file) bool {
	return f.hashed && g.hashed && f.hash == g.hash && f.size == g.size && f.mode == g.mode
}

// regular reports whether the mode is one the index keeps.
func regular(mode fs.FileMode) bool { return mode.IsRegular() || mode&fs.ModeSymlink != 0 }
