package layout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/problem"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A file is an entry of an archive that a test makes.
type file struct {
	name, data, link string
}

func archiveOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o644}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func zipped(t testing.TB, data string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func zstandard(t testing.TB, data string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(data), nil))
}

func sum(data string) digest.Digest { return digest.FromString(data) }

func blobFile(data string) file { return file{name: blobName(sum(data)), data: data} }

// Two layers, and a config for them.
var layerA, layerB = strings.Repeat("layer a ", 200), strings.Repeat("layer b ", 300)

func configOf(t testing.TB, arch string, layers ...string) string {
	c := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, sum(l))
	}
	return toJSON(t, c)
}

func manifestOf(t testing.TB, config string, layers ...string) string {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	m.SchemaVersion = 2
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: sum(config), Size: int64(len(config))}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: layerType([]byte(l)), Digest: sum(l), Size: int64(len(l))})
	}
	return toJSON(t, m)
}

func indexOf(t testing.TB, manifests ...ocispec.Descriptor) string {
	return toJSON(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests})
}

func descriptor(kind, data, name string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: kind, Digest: sum(data), Size: int64(len(data))}
	if name != "" {
		d.Annotations = map[string]string{nameAnnotation: name}
	}
	return d
}

func forPlatform(d ocispec.Descriptor, os, arch string) ocispec.Descriptor {
	d.Platform = &ocispec.Platform{OS: os, Architecture: arch}
	return d
}

const manifestType = ocispec.MediaTypeImageManifest

func TestEveryArchiveFormatIsRead(t *testing.T) {
	config := configOf(t, "amd64", layerA, layerB)
	manifest := manifestOf(t, config, layerA, layerB)
	otherConfig := configOf(t, "arm64", layerA)
	other := manifestOf(t, otherConfig, layerA)
	attest := manifestOf(t, `{}`, `{"x":1}`)
	nested := indexOf(t,
		forPlatform(descriptor(manifestType, other, ""), "linux", "arm64"),
		forPlatform(descriptor(manifestType, manifest, ""), "linux", "amd64"),
		forPlatform(descriptor(manifestType, attest, ""), "unknown", "unknown"))
	docker := toJSON(t, []dockerEntry{{Config: sum(config).Encoded() + ".json", RepoTags: []string{"web:1", "web:2"}, Layers: []string{"aa/layer.tar", "bb/layer.tar"}}})
	legacy := []file{
		{name: "aa/VERSION", data: "1.0"}, {name: "aa/json", data: `{"id":"aa"}`}, {name: "aa/layer.tar", data: layerA},
		{name: "bb/layer.tar", data: layerB}, {name: sum(config).Encoded() + ".json", data: config},
		{name: "manifest.json", data: docker}, {name: "repositories", data: `{"web":{"1":"bb"}}`},
	}
	twice := configOf(t, "amd64", layerA, layerA)
	oci := []file{{name: "oci-layout", data: ociLayout}, blobFile(layerA), blobFile(layerB), blobFile(config), blobFile(manifest)}
	zipA := zipped(t, layerA)
	zipManifest := manifestOf(t, config, zipA, layerB)
	tests := []struct {
		name   string
		files  []file
		names  []string
		layers []string
	}{
		{"docker save before 25", legacy, []string{"web:1", "web:2"}, []string{layerA, layerB}},
		{"docker save before 25, a layer twice", []file{
			{name: "aa/layer.tar", data: layerA}, {name: "bb/layer.tar", link: "../aa/layer.tar"}, {name: "c.json", data: twice},
			{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: "c.json", RepoTags: []string{"web:1"}, Layers: []string{"aa/layer.tar", "bb/layer.tar"}}})},
		}, []string{"web:1"}, []string{layerA, layerA}},
		{"docker save since 25", append(slices.Clone(oci),
			file{name: "index.json", data: indexOf(t, descriptor(manifestType, manifest, "docker.io/library/web:1"))},
			file{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: blobName(sum(config)), RepoTags: []string{"web:1"}, Layers: []string{blobName(sum(layerA)), blobName(sum(layerB))}}})},
		), []string{"web:1"}, []string{layerA, layerB}},
		{"OCI layout with two names", append(slices.Clone(oci), file{name: "index.json", data: indexOf(t,
			descriptor(manifestType, manifest, "docker.io/library/web:1"), descriptor(manifestType, manifest, "docker.io/library/web:2"))}),
			[]string{"docker.io/library/web:1", "docker.io/library/web:2"}, []string{layerA, layerB}},
		{"OCI layout, several platforms and an attestation", append(slices.Clone(oci), blobFile(other), blobFile(otherConfig), blobFile(nested), blobFile(attest),
			file{name: "index.json", data: indexOf(t, descriptor(ocispec.MediaTypeImageIndex, nested, "web:1"))}), []string{"web:1"}, []string{layerA, layerB}},
		{"several platforms in index.json itself", append(slices.Clone(oci), blobFile(other), blobFile(otherConfig), file{name: "./index.json", data: indexOf(t,
			forPlatform(descriptor(manifestType, other, ""), "linux", "arm64"), forPlatform(descriptor(manifestType, manifest, ""), "linux", "amd64"))}),
			nil, []string{layerA, layerB}},
		{"one platform of several is there", append(slices.Clone(oci), blobFile(nested),
			file{name: "index.json", data: indexOf(t, descriptor(ocispec.MediaTypeImageIndex, nested, "web:1"))}), []string{"web:1"}, []string{layerA, layerB}},
		{"a compressed layer", []file{{name: "index.json", data: indexOf(t, descriptor(manifestType, zipManifest, "web:1"))},
			blobFile(zipManifest), blobFile(config), blobFile(zipA), blobFile(layerB)}, []string{"web:1"}, []string{zipA, layerB}},
	}
	packings := map[string]func(testing.TB, string) string{"plain": func(_ testing.TB, data string) string { return data }, "gzip": zipped, "zstd": zstandard}
	for _, tt := range tests {
		for packing, pack := range packings {
			t.Run(tt.name+", "+packing, func(t *testing.T) {
				s := open(t)
				data := pack(t, string(archiveOf(t, tt.files...)))
				images, err := s.ReadArchive(t.Context(), strings.NewReader(data), ReadOptions{Platform: "linux/amd64"})
				if err != nil {
					t.Fatal(err)
				}
				if len(images) != 1 || !slices.Equal(images[0].Names, tt.names) {
					t.Fatalf("images are %d, the first with names %v", len(images), images[0].Names)
				}
				var want []string
				for _, l := range tt.layers {
					want = append(want, sum(l).String())
					got, err := s.ReadBlob(sum(l))
					if err != nil || string(got) != l {
						t.Errorf("layer %s is not in the store: %v", sum(l), err)
					}
				}
				var got []string
				for _, l := range images[0].Manifest.Layers {
					got = append(got, l.Digest.String())
				}
				if !slices.Equal(got, want) {
					t.Errorf("layers are %v, want %v", got, want)
				}
			})
		}
	}
}

func TestArchivesOfSeveralImages(t *testing.T) {
	web, db := configOf(t, "amd64", layerA, layerB), configOf(t, "amd64", layerA)
	webManifest, dbManifest := manifestOf(t, web, layerA, layerB), manifestOf(t, db, layerA)
	blobs := []file{blobFile(layerA), blobFile(layerB), blobFile(web), blobFile(db), blobFile(webManifest), blobFile(dbManifest)}
	entries := file{name: "manifest.json", data: toJSON(t, []dockerEntry{
		{Config: blobName(sum(web)), RepoTags: []string{"web:1", "web:2"}, Layers: []string{blobName(sum(layerA)), blobName(sum(layerB))}},
		{Config: blobName(sum(db)), RepoTags: []string{"db:1"}, Layers: []string{blobName(sum(layerA))}},
	})}
	index := file{name: "index.json", data: indexOf(t,
		descriptor(manifestType, webManifest, "web:1"), descriptor(manifestType, webManifest, "web:2"), descriptor(manifestType, dbManifest, "db:1"))}
	for name, files := range map[string][]file{
		"docker save before 25": append(slices.Clone(blobs), entries),
		"docker save since 25":  append(slices.Clone(blobs), index, entries),
		"OCI layout":            append(slices.Clone(blobs), index),
	} {
		images, err := open(t).ReadArchive(t.Context(), bytes.NewReader(archiveOf(t, files...)), ReadOptions{Platform: "linux/amd64"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, img := range images {
			got = append(got, fmt.Sprint(img.Names, len(img.DiffIDs)))
		}
		if want := []string{"[web:1 web:2] 2", "[db:1] 1"}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestPlatformOfSeveralIsChosen(t *testing.T) {
	here, there := configOf(t, "amd64", layerA), configOf(t, "arm64", layerB)
	amd, arm := manifestOf(t, here, layerA), manifestOf(t, there, layerB)
	index := indexOf(t, forPlatform(descriptor(manifestType, amd, ""), "linux", "amd64"), forPlatform(descriptor(manifestType, arm, ""), "linux", "arm64"))
	archive := archiveOf(t, blobFile(layerA), blobFile(layerB), blobFile(here), blobFile(there), blobFile(amd), blobFile(arm), blobFile(index),
		file{name: "index.json", data: indexOf(t, descriptor(ocispec.MediaTypeImageIndex, index, "web:1"))})
	for platform, want := range map[string]string{"linux/amd64": layerA, "linux/arm64": layerB} {
		images, err := open(t).ReadArchive(t.Context(), bytes.NewReader(archive), ReadOptions{Platform: platform})
		if err != nil || len(images) != 1 || images[0].DiffIDs[0] != sum(want) {
			t.Errorf("%s: %d images, %v", platform, len(images), err)
		}
	}
	_, err := open(t).ReadArchive(t.Context(), bytes.NewReader(archive), ReadOptions{Platform: "linux/s390x"})
	if err == nil || !strings.Contains(err.Error(), "only for linux/amd64, linux/arm64") || !strings.Contains(problem.Hint(err), "--platform") {
		t.Errorf("a platform that is not there: %v, hint %q", err, problem.Hint(err))
	}
}

func TestBadArchivesAreRefused(t *testing.T) {
	config := configOf(t, "amd64", layerA)
	manifest := manifestOf(t, config, layerA)
	index := file{name: "index.json", data: indexOf(t, descriptor(manifestType, manifest, "web:1"))}
	good := archiveOf(t, index, blobFile(manifest), blobFile(config), blobFile(layerA))
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "neither index.json nor manifest.json"},
		{"no archive", []byte(strings.Repeat("no archive", 100)), "invalid tar header"},
		{"cut off", good[:len(good)/2], "unexpected EOF"},
		{"no manifest", archiveOf(t, index), "lacks the manifest"},
		{"no config", archiveOf(t, index, blobFile(manifest)), "lacks the config"},
		{"another digest", archiveOf(t, index, blobFile(manifest), blobFile(config), file{name: blobName(sum(layerA)), data: layerB}), "not " + sum(layerA).String()},
		{"config of another digest", archiveOf(t, index, blobFile(manifest), file{name: blobName(sum(config)), data: "{}"}), "has digest"},
		{"another platform", archiveOf(t, file{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: "c.json", RepoTags: []string{"web:1"}, Layers: []string{"a.tar"}}})},
			file{name: "c.json", data: configOf(t, "arm64", layerA)}, file{name: "a.tar", data: layerA}), "linux/arm64, not for linux/amd64"},
		{"fewer layers than the config says", archiveOf(t, file{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: "c.json"}})}, file{name: "c.json", data: config}), "1 layers"},
		{"a layer of another image", archiveOf(t, file{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: "c.json", Layers: []string{"a.tar"}}})},
			file{name: "c.json", data: config}, file{name: "a.tar", data: layerB}), "but the config names"},
		{"links in a circle", archiveOf(t, file{name: "manifest.json", data: toJSON(t, []dockerEntry{{Config: "c.json", Layers: []string{"a.tar"}}})},
			file{name: "c.json", data: config}, file{name: "a.tar", link: "b.tar"}, file{name: "b.tar", link: "a.tar"}), "lacks the layer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			_, err := s.ReadArchive(t.Context(), bytes.NewReader(tt.data), ReadOptions{Platform: "linux/amd64"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q in it", err, tt.want)
			}
			if left, err := os.ReadDir(filepath.Join(s.dir, "tmp")); err != nil || len(left) > 0 {
				t.Errorf("%d files are left (%v)", len(left), err)
			}
		})
	}
}

func TestLayersThatAreNotNeededAreNotStored(t *testing.T) {
	config := configOf(t, "amd64", layerA, layerB)
	manifest := manifestOf(t, config, layerA, layerB)
	data := archiveOf(t, blobFile(layerA), blobFile(layerB), blobFile(config), blobFile(manifest),
		file{name: "index.json", data: indexOf(t, descriptor(manifestType, manifest, "web:1"))})
	s := open(t)
	images, err := s.ReadArchive(t.Context(), bytes.NewReader(data), ReadOptions{Skip: func(d digest.Digest) bool { return d == sum(layerA) }})
	if err != nil {
		t.Fatal(err)
	}
	if s.Has(sum(layerA)) || !s.Has(sum(layerB)) {
		t.Error("the store has not just the layer that is needed")
	}
	if got := s.Missing(images[0].Image); !slices.Equal(got, []digest.Digest{sum(layerA)}) {
		t.Errorf("missing are %v", got)
	}
}

func TestLayoutFolderIsRead(t *testing.T) {
	config := configOf(t, "amd64", layerA)
	manifest := manifestOf(t, config, layerA)
	dir := t.TempDir()
	for _, f := range []file{{name: "oci-layout", data: ociLayout}, blobFile(layerA), blobFile(config), blobFile(manifest),
		{name: "index.json", data: indexOf(t, descriptor(manifestType, manifest, "web:1"))}} {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(f.data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if !IsLayout(dir) || IsLayout(t.TempDir()) {
		t.Error("IsLayout is wrong")
	}
	s := open(t)
	images, err := s.ReadDir(t.Context(), dir, ReadOptions{})
	if err != nil || len(images) != 1 || !s.Has(sum(layerA)) {
		t.Errorf("%d images: %v", len(images), err)
	}
}

func TestThinArchiveIsReadBack(t *testing.T) {
	s := open(t)
	config := configOf(t, "amd64", layerA, layerB)
	for _, l := range []string{layerA, layerB} {
		if _, _, err := s.Add(strings.NewReader(l), sum(l)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := ParseImage([]byte(manifestOf(t, config, layerA, layerB)), []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	thin, err := NewThin(img, []string{"docker.io/library/web:1", "docker.io/library/web:2"}, map[int]bool{0: true, 1: true})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := thin.Write(&buf, s); err != nil {
		t.Fatal(err)
	}
	if int64(buf.Len()) != thin.Size() {
		t.Errorf("%d bytes, Size says %d", buf.Len(), thin.Size())
	}
	images, err := open(t).ReadArchive(t.Context(), &buf, ReadOptions{})
	if err != nil || len(images) != 1 || images[0].Digest() != img.Digest() || len(images[0].Names) != 2 {
		t.Errorf("read back %v: %v", images, err)
	}
}

func TestCancelledReadStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := open(t).ReadArchive(ctx, bytes.NewReader(archiveOf(t, blobFile(layerA))), ReadOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// FuzzReadArchive: whatever the bytes, reading ends without a panic, leaves no
// temporary file, and stores nothing under a wrong digest.
func FuzzReadArchive(f *testing.F) {
	config := configOf(f, "amd64", layerA)
	manifest := manifestOf(f, config, layerA)
	f.Add(archiveOf(f, file{name: "index.json", data: indexOf(f, descriptor(manifestType, manifest, "web:1"))}, blobFile(manifest), blobFile(config), blobFile(layerA)))
	f.Add(archiveOf(f, file{name: "manifest.json", data: toJSON(f, []dockerEntry{{Config: "c.json", Layers: []string{"../../a.tar"}}})},
		file{name: "c.json", data: config}, file{name: "../../a.tar", data: layerA}, file{name: "b.tar", link: "/a.tar"}))
	f.Add([]byte(zipped(f, "x")))
	s := open(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		_, _ = s.ReadArchive(t.Context(), bytes.NewReader(data), ReadOptions{})
		left, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
		if err != nil || len(left) > 0 {
			t.Errorf("%d files are left (%v)", len(left), err)
		}
		blobs, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256"))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			path := filepath.Join(s.dir, "blobs", "sha256", b.Name())
			content, err := os.ReadFile(path)
			if err != nil || digest.FromBytes(content).Encoded() != b.Name() {
				t.Errorf("blob %s holds something else (%v)", b.Name(), err)
			}
			_ = os.Remove(path)
		}
	})
}
