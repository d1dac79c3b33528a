package image

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"

	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// A memFile is a folder with one file, for BuildKit: dockerfile_inline needs
// no temporary file that a kill would leave behind.
type memFile struct {
	name string
	data []byte
}

func (m memFile) Walk(_ context.Context, _ string, fn fs.WalkDirFunc) error {
	stat := &fstypes.Stat{Path: m.name, Mode: 0o644, Size: int64(len(m.data))}
	return fn(m.name, &fsutil.DirEntryInfo{Stat: stat}, nil)
}

func (m memFile) Open(name string) (io.ReadCloser, error) {
	if name != m.name {
		return nil, &os.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(m.data)), nil
}
