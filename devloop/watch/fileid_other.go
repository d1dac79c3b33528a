//go:build !unix

package watch

import "io/fs"

// A fileID tells directories apart. The platform's is not part of FileInfo, so
// it stays unknown, and events alone tell that a directory was replaced.
type fileID struct{ dev, ino uint64 }

func idOf(fs.FileInfo) fileID { return fileID{} }
