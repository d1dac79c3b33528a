package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// A memFile is a folder with one file, for BuildKit: dockerfile_inline needs
// no temporary file that a kill would leave behind.
type memFile struct {
	name string
	data []byte
}

func (m memFile) Walk(_ context.Context, target string, fn fs.WalkDirFunc) error {
	if rel := path.Clean("/" + filepath.ToSlash(target)); rel != "/" && rel != "/"+m.name {
		return nil // fsutil's own folders too pass over what is not there
	}
	stat := &fstypes.Stat{Path: m.name, Mode: 0o644, Size: int64(len(m.data))}
	if err := fn(m.name, &fsutil.DirEntryInfo{Stat: stat}, nil); err != nil && !errors.Is(err, fs.SkipDir) && !errors.Is(err, fs.SkipAll) {
		return err
	}
	return nil
}

func (m memFile) Open(name string) (io.ReadCloser, error) {
	if name != m.name {
		return nil, &os.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(m.data)), nil
}
