package composefile

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-dev/berth/translate"
)

// FuzzRead reads anything at all: it must not panic or hang, and errors are
// ours.
func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"testdata/projects/*.txtar", "testdata/errors/*.txtar"} {
		for _, a := range archives(f, pattern) {
			for _, file := range a.archive.Files {
				f.Add(file.Data)
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		input, _, err := Read(ctx, Options{Dir: dir, Files: []string{stdin}, Stdin: bytes.NewReader(content), Env: []string{"A=1", "TAG=x"}})
		var one *translate.Error
		switch {
		case ctx.Err() != nil:
			t.Fatal("it takes too long")
		case err == nil && input.Project == nil:
			t.Fatal("neither a project nor an error")
		case err != nil && !errors.As(err, &one):
			t.Fatalf("a %T: %v", err, err)
		}
	})
}
