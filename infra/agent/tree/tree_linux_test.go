package tree

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A file of one block between holes, as etcd preallocates its log, stays small.
func TestHolesStayHoles(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	const size, at = 8 << 20, 1 << 20
	f, err := os.Create(filepath.Join(src, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("entry"), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), src, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dst, "wal"))
	if err != nil || len(raw) != size || string(raw[at:at+5]) != "entry" {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	info, err := os.Stat(filepath.Join(dst, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > size/4 {
		t.Errorf("the copy takes %d bytes of the disk", used)
	}
}
