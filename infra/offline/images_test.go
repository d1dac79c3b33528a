package offline

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestImagesAreReproducible(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	rootfs, err := tarOf(tarFile{name: "etc/x", mode: 0o644, data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "rootfs.tar")
	if err := os.WriteFile(base, rootfs, 0o644); err != nil {
		t.Fatal(err)
	}
	spec := nodeImageSpec{ref: "example.com/x:1", binary: program, path: "/bin/x", base: base, entrypoint: []string{"/bin/x"}}
	digest := func() string {
		img, err := spec.image()
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	first := digest()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(program, later, later); err != nil {
		t.Fatal(err)
	}
	if digest() != first {
		t.Error("the same program gives another image")
	}
	layout := filepath.Join(dir, "layout")
	other := spec
	other.ref = "example.com/y:1"
	if err := writeLayout(t.Context(), layout, []nodeImageSpec{spec, other}); err != nil {
		t.Fatal(err)
	}
	blobs, err := os.ReadDir(filepath.Join(layout, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	const want = 4 // two layers, a config and a manifest, shared by both
	if len(blobs) != want {
		t.Errorf("%d blobs, want %d", len(blobs), want)
	}
}
