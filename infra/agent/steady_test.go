package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/agent/wire"
	"github.com/berth-dev/berth/infra/model"
)

// A file that is written anew, shorter, while it is sent is sent with a content
// of the size that was announced, and again when that was made up.
func TestFileThatShrinksWhileItIsSentIsReadAgain(t *testing.T) {
	const large = 3 << 20
	for _, c := range []struct {
		name string
		then []int // sizes that the file gets during the first send, the second, and so on
		want []int // sizes sent
		last string
	}{
		{"small", []int{1000, 2}, []int{1000}, strings.Repeat("x", 1000)},
		{"large", []int{large, 2}, []int{large, 2}, "xx"},
		{"large and steady", []int{large, large + 1}, []int{large}, strings.Repeat("x", large)},
		{"never at rest", []int{large + 9, large + 8, large + 7, large + 6, large + 5, large + 4, large + 3}, []int{large + 9, large + 8, large + 7, large + 6, large + 5}, ""},
		{"gone", []int{large, -1}, []int{large}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := filepath.Join(t.TempDir(), "f")
			become := func(size int) {
				t.Helper()
				var err error
				if size < 0 {
					err = errors.Join(os.Truncate(source, 0), os.Remove(source))
				} else {
					err = os.WriteFile(source, []byte(strings.Repeat("x", size)), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			become(c.then[0])
			var sent []int
			var last string
			left := &model.Unreadable{}
			err := SendSteady(source, left, func(_ fs.FileInfo, size int64, content io.Reader) error {
				if again := len(sent) + 1; again < len(c.then) {
					become(c.then[again])
				}
				var b strings.Builder
				err := wire.WriteFile(&b, wire.File{Kind: wire.FileContent, Size: size}, content)
				sent, last = append(sent, int(size)), b.String()
				return err
			})
			if err != nil || left.OrNil() != nil {
				t.Fatalf("error %v, left out %v", err, left.OrNil())
			}
			if !slices.Equal(sent, c.want) || !strings.HasSuffix(last, c.last) {
				t.Errorf("sent %v", sent)
			}
		})
	}
}
