package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/berth-dev/berth/infra/model"
)

const (
	steadyWhole = 1 << 20 // files of up to this size are read before they are sent
	steadyTries = 5       // so often is one read that shrinks meanwhile
)

// SendSteady calls send with what the file called name holds, of exactly the size
// that send is told, though others write the file meanwhile. One that is too large
// to be read beforehand and shrinks is filled up with zeros and sent again; where it
// does not come to rest, reading it then is due to a change of its own. A file that
// has vanished is left out, and so is one that cannot be read, which is added to left.
func SendSteady(name string, left *model.Unreadable, send func(info fs.FileInfo, size int64, content io.Reader) error) error {
	for range steadyTries {
		shrank, err := sendOnce(name, left, send)
		if err != nil || !shrank {
			return err
		}
	}
	return nil
}

func sendOnce(name string, left *model.Unreadable, send func(fs.FileInfo, int64, io.Reader) error) (shrank bool, err error) {
	unreadable := func(err error) (bool, error) {
		if !errors.Is(err, fs.ErrNotExist) {
			left.Add(err)
		}
		return false, nil
	}
	source, err := os.Open(name)
	if err != nil {
		return unreadable(err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return unreadable(err)
	}
	if info.Size() <= steadyWhole {
		var content strings.Builder
		content.Grow(int(info.Size()))
		if _, err := io.Copy(&content, io.LimitReader(source, steadyWhole)); err != nil {
			return unreadable(err)
		}
		return false, send(info, int64(content.Len()), strings.NewReader(content.String()))
	}
	filled := &filler{r: source}
	err = send(info, info.Size(), io.LimitReader(filled, info.Size()))
	return filled.ended, err
}

// A filler goes on with zeros where r ends.
type filler struct {
	r     io.Reader
	ended bool
}

// Read reads of r, or zeros.
func (f *filler) Read(p []byte) (int, error) {
	if !f.ended {
		n, err := f.r.Read(p)
		if err != io.EOF {
			return n, err
		}
		if f.ended = true; n > 0 {
			return n, nil
		}
	}
	clear(p)
	return len(p), nil
}
