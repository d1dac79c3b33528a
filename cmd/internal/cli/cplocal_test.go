package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

func TestPlacesThatNothingCanBeCopiedTo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dest  string
		isDir bool
		hint  string
	}{
		{dir + "/gone/", false, "make it first, or leave out the slash at the end"},
		{dir + "/gone/deep", false, "make it first"},
		{file, true, "name another path"},
	} {
		if _, err := localTarget(c.dest, "x", c.isDir); err == nil || problem.Hint(err) != c.hint {
			t.Errorf("%s: %v, hint %q, want %q", c.dest, err, problem.Hint(err), c.hint)
		}
	}
	if at, err := localTarget(dir, "x", false); err != nil || at.String() != filepath.Join(dir, "x") {
		t.Errorf("%s, %v", at, err)
	}
}
