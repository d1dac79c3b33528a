package place

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A File is one file to place, or the directory itself.
type File struct {
	Path     string // relative to either directory; "." for the directory
	Mode     uint32 // permission bits, and those for setuid, setgid and sticky
	UID, GID int
}

// Parse reads "MODE:UID:GID:PATH", the mode in octal.
func Parse(text string) (File, error) {
	parts := strings.SplitN(text, ":", 4)
	if len(parts) != 4 || !filepath.IsLocal(parts[3]) {
		return File{}, fmt.Errorf("%q is not MODE:UID:GID:PATH", text)
	}
	mode, err1 := strconv.ParseUint(parts[0], 8, 12)
	uid, err2 := strconv.ParseUint(parts[1], 10, 31)
	gid, err3 := strconv.ParseUint(parts[2], 10, 31)
	if err1 != nil || err2 != nil || err3 != nil {
		return File{}, fmt.Errorf("%q is not MODE:UID:GID:PATH", text)
	}
	return File{Path: filepath.Clean(parts[3]), Mode: uint32(mode), UID: int(uid), GID: int(gid)}, nil
}

// String is what Parse reads.
func (f File) String() string { return fmt.Sprintf("%04o:%d:%d:%s", f.Mode, f.UID, f.GID, f.Path) }

// Files copies files from one directory to another and gives them, and the
// directories of the list, their owner and mode. A file appears whole or not at
// all, so that it can be done again after an interruption.
func Files(from, to string, files []File) error {
	for _, f := range files {
		path := filepath.Join(to, f.Path)
		if f.Path == "." {
			if err := own(path, f); err != nil {
				return err
			}
			continue
		}
		if err := f.copy(filepath.Join(from, f.Path), path); err != nil {
			return err
		}
	}
	return nil
}

func (f File) copy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(to), ".berth-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := own(out.Name(), f); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// own sets owner and mode; in that order, for a new owner takes setuid away.
func own(path string, f File) error {
	if err := os.Chown(path, f.UID, f.GID); err != nil {
		return err
	}
	if err := unix.Chmod(path, f.Mode); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}
