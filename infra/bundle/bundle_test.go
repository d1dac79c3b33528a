package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/image/layout"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) *layout.Store {
	t.Helper()
	s, err := layout.Open(t.TempDir())
	must(t, err)
	return s
}

// image is an image of the given layers, which it puts into the store.
func image(t *testing.T, store *layout.Store, ref string, use Use, layers ...string) Packed {
	t.Helper()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	config.Config.Env = []string{"REF=" + ref}
	var descriptors []layout.Layer
	for _, l := range layers {
		d, n, err := store.Add(strings.NewReader(l), "")
		must(t, err)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d)
		descriptors = append(descriptors, layout.Layer{Digest: d, Size: n, MediaType: ocispec.MediaTypeImageLayer})
	}
	raw, err := json.Marshal(config)
	must(t, err)
	img, err := layout.NewImage(raw, descriptors)
	must(t, err)
	return Packed{Image: img, Ref: ref, Use: use}
}

// plan is a bundle of two images that share a layer, and a folder.
func plan(t *testing.T, store *layout.Store) Plan {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "app", ".git"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte("services: {}\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "app", "run"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "app", ".git", "config"), []byte("no\n"), 0o644))
	files, err := AddFolder(t.Context(), store, KindProject, dir, nil, nil)
	must(t, err)
	return Plan{
		Contents: Contents{Name: "shop", Platform: "linux/amd64", Files: []File{files}},
		Images: []Packed{
			image(t, store, "docker.io/library/web:1", UseProject, "base layer", strings.Repeat("web", 1000)),
			image(t, store, "docker.io/library/base:1", UseBase, "base layer"),
		},
	}
}

func pack(t *testing.T, store *layout.Store, p Plan) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := Write(t.Context(), &out, p, store)
	must(t, err)
	return out.Bytes()
}

// unpack reads a whole bundle.
func unpack(t *testing.T, raw []byte, store *layout.Store) ([]Packed, Contents, error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, Contents{}, err
	}
	defer r.Close()
	images, err := r.Blobs(t.Context(), store, nil)
	return images, r.Contents, err
}

// repacked is a bundle with its files changed one by one; nil leaves one out.
func repacked(t *testing.T, raw []byte, change func(name string, data []byte) []byte, more ...string) []byte {
	t.Helper()
	in, err := zstd.NewReader(bytes.NewReader(raw))
	must(t, err)
	defer in.Close()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	must(t, err)
	tw := tar.NewWriter(z)
	put := func(name string, data []byte) {
		must(t, writeEntry(tw, name, 0o444, int64(len(data)), bytes.NewReader(data)))
	}
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		data, err := io.ReadAll(tr)
		must(t, err)
		if data = change(h.Name, data); data != nil {
			put(h.Name, data)
		}
	}
	for _, name := range more {
		put(name, []byte("more"))
	}
	must(t, tw.Close())
	must(t, z.Close())
	return out.Bytes()
}

func TestWhatIsPackedIsReadBack(t *testing.T) {
	from, to := newStore(t), newStore(t)
	p := plan(t, from)
	raw := pack(t, from, p)
	images, contents, err := unpack(t, raw, to)
	must(t, err)
	if len(images) != 2 || images[0].Ref != p.Images[0].Ref || images[0].Digest() != p.Images[0].Digest() || images[1].Use != UseBase {
		t.Errorf("images %+v", images)
	}
	if want := int64(10+3000) + p.Contents.Files[0].Size; contents.Size != want {
		t.Errorf("%d bytes, want %d: the shared layer once", contents.Size, want)
	}
	for _, img := range images {
		if missing := to.Missing(img.Image); len(missing) > 0 {
			t.Errorf("%s lacks %v", img.Ref, missing)
		}
	}
	dir := filepath.Join(t.TempDir(), "out")
	for range 2 { // a second time nothing changes
		must(t, extract(t, to, contents.Files[0].Digest, dir, "."))
	}
	if info, err := os.Stat(filepath.Join(dir, "app", "run")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "app", ".git")); err == nil {
		t.Error("the repository is packed, too")
	}
	must(t, os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte("mine\n"), 0o644))
	if err := extract(t, to, contents.Files[0].Digest, dir, "."); err == nil || !strings.Contains(err.Error(), "with other content") {
		t.Errorf("a changed file is overwritten: %v", err)
	}
	if again := pack(t, from, p); !bytes.Equal(again, raw) {
		t.Error("the same plan gives another file")
	}
}

func TestADamagedBundleIsRefusedByName(t *testing.T) {
	store := newStore(t)
	raw := pack(t, store, plan(t, store))
	web := blobName(digest.FromString(strings.Repeat("web", 1000)))
	same := func(_ string, data []byte) []byte { return data }
	flip := func(at int) []byte {
		damaged := bytes.Clone(raw)
		damaged[at] ^= 0x55
		return damaged
	}
	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"a text file":       {[]byte("hello, this is no bundle at all"), "no bundle"},
		"an empty file":     {nil, "no bundle"},
		"cut off":           {raw[:len(raw)*2/3], "unexpected EOF"},
		"a bit in the data": {flip(len(raw) / 2), ""},
		"a changed layer": {repacked(t, raw, func(n string, data []byte) []byte {
			if n == web {
				data[7] = 'X'
			}
			return data
		}), "its content is damaged: blob"},
		"a shorter layer": {repacked(t, raw, func(n string, data []byte) []byte {
			if n == web {
				return data[:100]
			}
			return data
		}), web[len("blobs/sha256/"):] + " has 100 bytes, not 3000"},
		"a layer left out": {repacked(t, raw, func(n string, data []byte) []byte {
			if n == web {
				return nil
			}
			return data
		}), "1 of its blobs are missing, the first of them sha256:" + web[len("blobs/sha256/"):]},
		"a file put in":        {repacked(t, raw, same, "blobs/sha256/"+strings.Repeat("a", 64)), "which its index does not name"},
		"a path put in":        {repacked(t, raw, same, "../../etc/passwd"), "which its index does not name"},
		"an OCI layout":        {repacked(t, raw, replacing(`"dev.berth.bundle.format":"1"`, `"x":"1"`)), "no bundle of berth"},
		"a newer format":       {repacked(t, raw, replacing(`"dev.berth.bundle.format":"1"`, `"dev.berth.bundle.format":"7"`)), "it has format 7, and this berth knows formats up to 1"},
		"no format":            {repacked(t, raw, replacing(`"dev.berth.bundle.format":"1"`, `"dev.berth.bundle.format":"0"`)), "no bundle of berth"},
		"an index that is not": {repacked(t, raw, replacing(`{"schemaVersion"`, `{{"schemaVersion"`)), "its index cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			to := newStore(t)
			_, _, err := unpack(t, tc.raw, to)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// members are the kinds of files of a bundle, each with the name of one.
func members(t *testing.T, p Plan, raw []byte) map[string]string {
	t.Helper()
	r, err := NewReader(bytes.NewReader(raw))
	must(t, err)
	defer r.Close()
	found := map[string]string{
		"the layout file": ocispec.ImageLayoutFile, "the index": ocispec.ImageIndexFile,
		"an image's manifest": blobName(p.Images[0].Digest()), "an image's config": blobName(p.Images[0].Manifest.Config.Digest),
		"a layer": blobName(p.Images[0].Manifest.Layers[0].Digest), "the project's files": blobName(p.Contents.Files[0].Digest),
	}
	var index ocispec.Index
	must(t, json.Unmarshal(r.index, &index))
	for _, d := range index.Manifests {
		if d.ArtifactType == artifactType {
			found["the description's manifest"] = blobName(d.Digest)
			var m ocispec.Manifest
			must(t, json.Unmarshal(r.blobs[d.Digest], &m))
			found["the description"] = blobName(m.Config.Digest)
		}
	}
	return found
}

// One byte is changed, whatever it is of, and packed so that the archive is whole.
func TestOneChangedByteOfAnyMemberIsRefused(t *testing.T) {
	store := newStore(t)
	p := plan(t, store)
	raw := pack(t, store, p)
	for kind, member := range members(t, p, raw) {
		t.Run(kind, func(t *testing.T) {
			changed := false
			damaged := repacked(t, raw, func(name string, data []byte) []byte {
				if name == member {
					changed = true
					data[len(data)/2] ^= 1
				}
				return data
			})
			if !changed {
				t.Fatalf("there is no %s", member)
			}
			if _, _, err := unpack(t, damaged, newStore(t)); err == nil || !strings.Contains(err.Error(), "read the bundle") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Wherever the file is cut off or damaged, it is refused, or nothing of it is lost.
func TestNoDamageOfTheFileGoesUnseen(t *testing.T) {
	store, to := newStore(t), newStore(t)
	p := plan(t, store)
	raw := pack(t, store, p)
	want, contents, err := unpack(t, raw, to)
	must(t, err)
	whole, err := json.Marshal([]any{want, contents})
	must(t, err)
	const step = 13
	for at := 0; at < len(raw); at += step {
		flipped := bytes.Clone(raw)
		flipped[at] ^= 0x10
		for what, damaged := range map[string][]byte{"cut off": raw[:at], "changed": flipped} {
			images, contents, err := unpack(t, damaged, to)
			if err != nil {
				continue
			}
			if got, err := json.Marshal([]any{images, contents}); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%s at %d of %d: read without an error is\n%s, %v", what, at, len(raw), got, err)
			}
		}
	}
	if _, _, err := unpack(t, append(bytes.Clone(raw), "more"...), to); err == nil {
		t.Error("what follows the end is not seen")
	}
}

func replacing(from, to string) func(string, []byte) []byte {
	return func(name string, data []byte) []byte {
		if name != ocispec.ImageIndexFile {
			return data
		}
		return bytes.Replace(data, []byte(from), []byte(to), 1)
	}
}

func TestASignatureCoversEverything(t *testing.T) {
	store := newStore(t)
	p := plan(t, store)
	public, private, err := minisign.GenerateKey(rand.Reader)
	must(t, err)
	stranger, _, err := minisign.GenerateKey(rand.Reader)
	must(t, err)
	plain, err := private.MarshalText() // keys with passwords are left to the library: deriving theirs takes seconds
	must(t, err)
	key := filepath.Join(t.TempDir(), "minisign.key")
	must(t, os.WriteFile(key, plain, 0o600))
	if p.Sign, err = Signer(key, ""); err != nil {
		t.Fatal(err)
	}
	signed := pack(t, store, p)
	p.Sign = nil
	unsigned := pack(t, store, p)
	for name, tc := range map[string]struct {
		raw  []byte
		key  minisign.PublicKey
		want string
	}{
		"signed":           {signed, public, ""},
		"not signed":       {unsigned, public, "it is not signed"},
		"signed by others": {signed, stranger, "its signature is not of this key, or its index was changed"},
		"another index": {repacked(t, signed, replacing(`"schemaVersion":2`, `"schemaVersion":2 `)), public,
			"its signature is not of this key, or its index was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := tc.key.MarshalText()
			must(t, err)
			verify, err := Verifier(string(text))
			must(t, err)
			r, err := NewReader(bytes.NewReader(tc.raw))
			must(t, err)
			defer r.Close()
			err = r.Verify(verify)
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAnInterruptedLoadGoesOn(t *testing.T) {
	from, to := newStore(t), newStore(t)
	raw := pack(t, from, plan(t, from))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := NewReader(bytes.NewReader(raw))
	must(t, err)
	if _, err = r.Blobs(ctx, to, func(int64) { cancel() }); err == nil {
		t.Fatal("it is not interrupted")
	}
	r.Close()
	images, _, err := unpack(t, raw, to)
	must(t, err)
	if len(images) != 2 {
		t.Errorf("%d images", len(images))
	}
	var archive bytes.Buffer
	must(t, WriteArchive(t.Context(), &archive, images[0], to))
	back, err := newStore(t).ReadArchive(t.Context(), &archive, layout.ReadOptions{Platform: "linux/amd64"})
	must(t, err)
	if len(back) != 1 || back[0].Manifest.Config.Digest != images[0].Manifest.Config.Digest {
		t.Errorf("the archive for the engine holds %+v", back)
	}
}

func extract(t *testing.T, store *layout.Store, blob digest.Digest, dir, below string) error {
	t.Helper()
	f, err := OpenFolder(dir)
	must(t, err)
	defer f.Close()
	return f.Extract(t.Context(), store, blob, below)
}

// tarOf puts a tar of entries into the store.
func tarOf(t *testing.T, store *layout.Store, headers ...tar.Header) digest.Digest {
	t.Helper()
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	for _, h := range headers {
		h.Mode, h.Size = 0o644, 0
		must(t, tw.WriteHeader(&h))
	}
	must(t, tw.Close())
	d, _, err := store.Add(&raw, "")
	must(t, err)
	return d
}

// A project's links are there when the workshop and berth are written.
func TestLinksOfOneTarLeadNoOtherOut(t *testing.T) {
	store := newStore(t)
	outside := t.TempDir()
	dir := filepath.Join(t.TempDir(), "out")
	must(t, extract(t, store, tarOf(t, store,
		tar.Header{Name: "workshop", Typeflag: tar.TypeSymlink, Linkname: outside},
		tar.Header{Name: ".berth", Typeflag: tar.TypeDir},
		tar.Header{Name: ".berth/bin", Typeflag: tar.TypeSymlink, Linkname: outside},
		tar.Header{Name: "file", Typeflag: tar.TypeSymlink, Linkname: filepath.Join(outside, "file")},
	), dir, "."))
	if err := extract(t, store, tarOf(t, store, tar.Header{Name: "workshop.yaml", Typeflag: tar.TypeReg}), dir, "workshop"); err == nil {
		t.Error("a workshop is written through a link")
	}
	if err := extract(t, store, tarOf(t, store, tar.Header{Name: "file", Typeflag: tar.TypeReg}), dir, "."); err == nil {
		t.Error("a file is written through a link")
	}
	f, err := OpenFolder(dir)
	must(t, err)
	defer f.Close()
	if err := f.Copy(t.Context(), store, tarOf(t, store), filepath.Join(".berth", "bin", "berth"), 0o755); err == nil {
		t.Error("berth is written through a link")
	}
	if err := f.Copy(t.Context(), store, tarOf(t, store), "../berth", 0o755); err == nil {
		t.Error("berth is written outside")
	}
	if found, err := os.ReadDir(outside); err != nil || len(found) > 0 {
		t.Errorf("outside there are %v, %v", found, err)
	}
}

// brokenOff ends in the middle.
type brokenOff struct{ left io.Reader }

func (b brokenOff) Read(p []byte) (int, error) {
	n, err := b.left.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("the power is gone")
	}
	return n, err
}

func TestAnInterruptedExtractionGoesOn(t *testing.T) {
	store := newStore(t)
	p := plan(t, store)
	dir := t.TempDir()
	f, err := OpenFolder(dir)
	must(t, err)
	defer f.Close()
	if err := f.write("compose.yaml", 0o644, brokenOff{strings.NewReader("serv")}); err == nil {
		t.Fatal("it is not interrupted")
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) > 0 {
		t.Errorf("it left %v, %v", found, err)
	}
	// A killed one cannot clean up.
	must(t, os.WriteFile(filepath.Join(dir, Unfinished+"compose.yaml"), []byte("serv"), 0o644))
	must(t, f.Extract(t.Context(), store, p.Contents.Files[0].Digest, "."))
	if got, err := os.ReadFile(filepath.Join(dir, "compose.yaml")); err != nil || string(got) != "services: {}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, Unfinished+"compose.yaml")); err == nil {
		t.Error("what the killed one left is still there")
	}
}

func TestBundlesAreNotPackedIntoBundles(t *testing.T) {
	store := newStore(t)
	dir := t.TempDir()
	want, err := AddFolder(t.Context(), store, KindProject, dir, nil, nil)
	must(t, err)
	for _, name := range []string{"shop.berth", ".bundle-123", "out.bin", ".berth/bin/berth"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("big"), 0o644))
	}
	got, err := AddFolder(t.Context(), store, KindProject, dir, []string{filepath.Join(dir, "out.bin")}, nil)
	must(t, err)
	if got.Digest != want.Digest {
		t.Error("they are packed")
	}
}

func TestAFileCanBePackedWithOtherContent(t *testing.T) {
	store := newStore(t)
	dir, out := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "z"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644))
	}
	f, err := AddFolder(t.Context(), store, KindProject, dir, nil, map[string][]byte{"a": []byte("new"), ".env": []byte("A=1\n")})
	must(t, err)
	must(t, extract(t, store, f.Digest, out, "."))
	for name, want := range map[string]string{"a": "new", "z": "old", ".env": "A=1\n"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestMissingIsWhatAStoreLacks(t *testing.T) {
	from, to := newStore(t), newStore(t)
	p := plan(t, from)
	raw := pack(t, from, p)
	_, _, err := to.Add(strings.NewReader(strings.Repeat("web", 1000)), "")
	must(t, err)
	r, err := NewReader(bytes.NewReader(raw))
	must(t, err)
	defer r.Close()
	images, err := r.Images()
	must(t, err)
	if len(images) != 2 {
		t.Errorf("%d images", len(images))
	}
	if got, want := r.Missing(to), 10+p.Contents.Files[0].Size; got != want {
		t.Errorf("%d bytes are missing, want %d", got, want)
	}
	if images, err = r.Blobs(t.Context(), to, nil); err != nil || len(images) != 2 || r.Missing(to) != 0 {
		t.Errorf("%d images, %v", len(images), err)
	}
}

// What a bundle says of its name and size is not believed.
func TestADescriptionIsNotBelieved(t *testing.T) {
	store := newStore(t)
	for name, tc := range map[string]struct {
		change func(*Contents)
		want   string
	}{
		"a name that leads out": {func(c *Contents) { c.Name = "../evil" }, `its name "../evil" is none`},
		"an absolute name":      {func(c *Contents) { c.Name = "/etc" }, "is none"},
		"a hidden name":         {func(c *Contents) { c.Name = ".." }, "is none"},
		"no name":               {func(c *Contents) { c.Name = "" }, "is none"},
		"more than it says":     {func(c *Contents) { c.Size = -500 }, "it holds more than the"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, store)
			tc.change(&p.Contents)
			if _, _, err := unpack(t, pack(t, store, p), newStore(t)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNothingIsWrittenOutsideTheFolder(t *testing.T) {
	store := newStore(t)
	for name, headers := range map[string][]tar.Header{
		"a path that leads out": {{Name: "../evil", Typeflag: tar.TypeReg}},
		"an absolute path":      {{Name: "/evil", Typeflag: tar.TypeReg}},
		"through a link":        {{Name: "link", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "link/evil", Typeflag: tar.TypeReg}},
		"a device":              {{Name: "evil", Typeflag: tar.TypeChar}},
		"a hard link":           {{Name: "evil", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			tw := tar.NewWriter(&raw)
			for _, h := range headers {
				must(t, tw.WriteHeader(&h))
			}
			must(t, tw.Close())
			d, _, err := store.Add(&raw, "")
			must(t, err)
			parent := t.TempDir()
			if err := extract(t, store, d, filepath.Join(parent, "out"), "."); err == nil {
				t.Error("it is written")
			}
			if _, err := os.Lstat(filepath.Join(parent, "evil")); err == nil {
				t.Error("a file appeared outside")
			}
		})
	}
}
