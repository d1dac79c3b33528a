package place

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFilesGetTheirOwnerAndMode(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	from, to := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{"a": "one", "deep/b": "two"} {
		path := filepath.Join(from, "..data", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "deep"} { // as the kubelet lays them out
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(from, name)); err != nil {
			t.Fatal(err)
		}
	}
	var files []File
	for _, text := range []string{"1730:3:4:.", "0400:7:8:a", "4755:0:0:deep/b"} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if f.String() != text {
			t.Errorf("%q is written %q", text, f.String())
		}
		files = append(files, f)
	}
	for range 2 { // again, as after an interruption
		if err := Files(from, to, files); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		var s unix.Stat_t
		if err := unix.Lstat(filepath.Join(to, f.Path), &s); err != nil {
			t.Fatal(err)
		}
		if s.Mode&0o7777 != f.Mode || int(s.Uid) != f.UID || int(s.Gid) != f.GID {
			t.Errorf("%s: mode %04o, owner %d:%d", f, s.Mode&0o7777, s.Uid, s.Gid)
		}
	}
	if text, err := os.ReadFile(filepath.Join(to, "deep/b")); err != nil || string(text) != "two" {
		t.Errorf("got %q, %v", text, err)
	}
	left, err := filepath.Glob(filepath.Join(to, ".berth-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	for _, text := range []string{"", "0400:0:0", "0400:0:0:", "0400:0:0:../x", "0400:0:0:/etc/x", "9:0:0:x", "0400:-1:0:x", "0400:0:x:x", "17777:0:0:x"} {
		if f, err := Parse(text); err == nil {
			t.Errorf("%q: %+v", text, f)
		} else if !strings.Contains(err.Error(), "MODE:UID:GID:PATH") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := Files(t.TempDir(), t.TempDir(), []File{{Path: "gone", Mode: 0o400}}); err == nil {
		t.Error("a file that is not there is placed")
	}
}
