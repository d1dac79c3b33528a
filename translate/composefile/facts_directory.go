package composefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/translate"
)

// maxSnapshotFiles is up to how many files a mounted directory is read: what a
// snapshot in a ConfigMap may reasonably hold.
const maxSnapshotFiles = 500

// snapshot reads the files below a directory while they are few and small.
// whole says that nothing is missing.
func snapshot(dir string) (files map[string]translate.FileFacts, whole bool) {
	s := snapshotter{files: map[string]translate.FileFacts{}}
	whole = s.add(dir, "")
	return s.files, whole
}

type snapshotter struct {
	files       map[string]translate.FileFacts
	bytes       int64
	directories int
}

// add reads a directory, prefix being its path below the first one with a
// slash at the end. It stops, with false, at the first thing that does not fit.
func (s *snapshotter) add(dir, prefix string) bool {
	if s.directories++; s.directories > maxSnapshotFiles {
		return false
	}
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	entries, err := d.ReadDir(maxSnapshotFiles + 1) // a directory of a million files is not read to its end
	_ = d.Close()                                   // it was only read
	if err != nil && !errors.Is(err, io.EOF) || len(entries) > maxSnapshotFiles {
		return false
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			if !s.add(path, prefix+e.Name()+"/") {
				return false
			}
			continue
		}
		if !e.Type().IsRegular() || len(s.files) >= maxSnapshotFiles || !s.read(path, prefix+e.Name()) {
			return false
		}
	}
	return true
}

// read adds one file.
func (s *snapshotter) read(path, name string) bool {
	info, err := os.Stat(path)
	if err != nil || s.bytes+info.Size() > maxContent {
		return false
	}
	content, err := readSmallFile(path, maxContent)
	if err != nil {
		return false
	}
	s.bytes += int64(len(content))
	s.files[name] = translate.FileFacts{Mode: uint32(info.Mode().Perm()), Content: content}
	return s.bytes <= maxContent
}
