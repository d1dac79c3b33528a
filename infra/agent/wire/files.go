package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// FileKind says what a File makes.
type FileKind string

// The kinds of files.
const (
	FileContent FileKind = "file"   // a regular file; Size bytes follow
	FileDir     FileKind = "dir"    // a directory, not its content
	FileLink    FileKind = "link"   // a symbolic link to Link
	FileRemoval FileKind = "remove" // nothing, nor anything below
)

// File is one operation on a file of a container.
type File struct {
	Kind   FileKind `json:"kind"`
	Target string   `json:"target"` // absolute, inside the container
	Mode   uint32   `json:"mode,omitempty"`
	Size   int64    `json:"size,omitempty"`
	Link   string   `json:"link,omitempty"`
}

const maxFileHeader = 64 << 10

// WriteFile appends one operation, and for FileContent its content, to a
// stream. A content of another size than it says is an error.
func WriteFile(w io.Writer, f File, content io.Reader) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if len(raw) > maxFileHeader {
		return fmt.Errorf("the name of %.100q... is too long", f.Target)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)); err != nil {
		return err
	}
	if f.Kind != FileContent {
		return nil
	}
	n, err := io.Copy(w, io.LimitReader(content, f.Size))
	if err == nil && n < f.Size {
		err = fmt.Errorf("%s: %w: it shrank while it was read", f.Target, io.ErrUnexpectedEOF)
	}
	return err
}

// FileReader reads what WriteFile wrote.
type FileReader struct {
	r    *bufio.Reader
	left int64 // of the content of the last file
}

// NewFileReader reads operations from r.
func NewFileReader(r io.Reader) *FileReader { return &FileReader{r: bufio.NewReaderSize(r, chunk)} }

// Next returns the next operation, io.EOF after the last. What is left of the
// content of the one before is skipped.
func (f *FileReader) Next() (File, error) {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return File{}, err
	}
	var size [4]byte
	if _, err := io.ReadFull(f.r, size[:]); err != nil {
		return File{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFileHeader {
		return File{}, fmt.Errorf("a file header of %d bytes", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(f.r, raw); err != nil {
		return File{}, unexpected(err)
	}
	var file File
	if err := json.Unmarshal(raw, &file); err != nil {
		return File{}, err
	}
	switch file.Kind {
	case FileContent:
		if file.Size < 0 {
			return File{}, fmt.Errorf("a file of %d bytes", file.Size)
		}
		f.left = file.Size
	case FileDir, FileLink, FileRemoval:
	default:
		return File{}, fmt.Errorf("a file of kind %q", file.Kind)
	}
	return file, nil
}

// Read reads the content of the last file.
func (f *FileReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
