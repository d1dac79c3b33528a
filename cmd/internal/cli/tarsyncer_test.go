package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestTarStepsKeepTheOrder(t *testing.T) {
	write := func(target string) model.FileSync {
		return model.FileSync{Source: "x", Target: target, Op: model.FileWritten}
	}
	remove := func(target string) model.FileSync { return model.FileSync{Target: target, Op: model.FileRemoved} }
	got := ""
	for _, s := range tarSteps([]model.FileSync{write("/a"), write("/b"), remove("/a"), remove("/c"), write("/a/inner")}) {
		got += fmt.Sprintf("%v%d ", s.remove, len(s.write))
	}
	if want := "[]2 [/a /c]0 []1 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTarHoldsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("content"), 0o640), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	var files []model.FileSync
	for target, source := range map[string]string{"/app/file": file, "/app/link": link, "/app/dir": dir, "/app/gone": filepath.Join(dir, "gone")} {
		files = append(files, model.FileSync{Source: source, Target: target, Op: model.FileWritten})
	}
	archive, err := tarOf(files)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %c %s%s %d", h.Name, h.Typeflag, content, h.Linkname, h.Uid))
	}
	slices.Sort(got)
	if want := []string{"app/dir/ 5  0", "app/file 0 content 0", "app/link 2 file 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
