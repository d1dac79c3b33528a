package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-dev/berth/infra/image/layout"
)

// A fakeNode keeps images and snapshots as containerd does: an import needs,
// for each layer, its blob or its snapshot, and changes nothing when it fails.
type fakeNode struct {
	name string

	mu        sync.Mutex
	images    map[string]NodeImage
	manifests map[digest.Digest][]digest.Digest // chain IDs by manifest
	snapshots map[digest.Digest]bool
	running   map[string]bool         // names of images that containers use
	imports   int                     // how many were tried
	received  []int                   // layer blobs in each
	mirrors   map[string]error        // registries that it can pull from, and how that ends
	asked     []string                // of it, in order
	silent    bool                    // an import does not say what it has unpacked
	before    func(n *fakeNode) error // called by Import first; may change the node
}

func newFakeNode(name string) *fakeNode {
	return &fakeNode{
		name: name, images: map[string]NodeImage{}, manifests: map[digest.Digest][]digest.Digest{},
		snapshots: map[digest.Digest]bool{}, running: map[string]bool{},
	}
}

func (n *fakeNode) Name() string { return n.name }

func (n *fakeNode) Unpacked(ctx context.Context, names []string) (map[string]digest.Digest, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "unpacked")
	return n.unpacked(names), ctx.Err()
}

func (n *fakeNode) unpacked(names []string) map[string]digest.Digest {
	found := map[string]digest.Digest{}
	for _, name := range names {
		img, ok := n.images[name]
		if !ok {
			continue
		}
		whole := true
		for _, id := range n.manifests[img.Target] {
			whole = whole && n.snapshots[id]
		}
		if whole {
			found[name] = img.Target
		}
	}
	return found
}

func (n *fakeNode) Snapshots(ctx context.Context) (map[digest.Digest]bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "snapshots")
	return maps.Clone(n.snapshots), ctx.Err()
}

func (n *fakeNode) InUse(ctx context.Context) (map[digest.Digest]bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	used := map[digest.Digest]bool{}
	for name := range n.running {
		if chain := n.manifests[n.images[name].Target]; len(chain) > 0 {
			used[chain[len(chain)-1]] = true
		}
	}
	return used, ctx.Err()
}

func (n *fakeNode) Records(ctx context.Context, names []string, d digest.Digest) (map[string]digest.Digest, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, "records")
	found := map[string]digest.Digest{}
	for name, img := range n.images {
		if slices.Contains(names, name) || d != "" && img.Target == d {
			found[name] = img.Target
		}
	}
	return found, ctx.Err()
}

func (n *fakeNode) Import(_ context.Context, platform string, labels map[string]string, archive io.Reader) (map[string]digest.Digest, error) {
	data, err := io.ReadAll(archive)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.imports++
	n.asked = append(n.asked, "import")
	if n.before != nil {
		if err := n.before(n); err != nil {
			return nil, err
		}
	}
	files, err := readArchive(data)
	if err != nil {
		return nil, err
	}
	names, err := n.store(files, platform, labels)
	if n.silent || err != nil {
		return nil, err
	}
	return n.unpacked(names), nil
}

func readArchive(data []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
		if sum, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && fmt.Sprintf("%x", sha256.Sum256(files[h.Name])) != sum {
			return nil, fmt.Errorf("%s has another digest", h.Name)
		}
	}
	return files, nil
}

func (n *fakeNode) store(files map[string][]byte, platform string, labels map[string]string) (names []string, err error) {
	var index ocispec.Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		return nil, err
	}
	blob := func(d digest.Digest) []byte { return files["blobs/sha256/"+d.Encoded()] }
	layers := 0
	for _, d := range index.Manifests {
		var m ocispec.Manifest
		var c ocispec.Image
		if err := errors.Join(json.Unmarshal(blob(d.Digest), &m), json.Unmarshal(blob(m.Config.Digest), &c)); err != nil {
			return nil, err
		}
		if got := c.OS + "/" + c.Architecture; got != platform {
			return nil, fmt.Errorf("platform %s is not %s", got, platform)
		}
		chain := chainIDs(digestStrings(c.RootFS.DiffIDs))
		layers = 0
		for k, l := range m.Layers {
			if blob(l.Digest) != nil {
				layers++
			} else if !n.snapshots[chain[k]] {
				return nil, fmt.Errorf("content digest %s: not found", l.Digest)
			}
		}
		for _, c := range chain {
			n.snapshots[c] = true
		}
		n.manifests[d.Digest] = chain
		name := d.Annotations["io.containerd.image.name"]
		n.images[name] = NodeImage{Name: name, Target: d.Digest, Labels: labels}
		names = append(names, name)
		id := m.Config.Digest.String()
		n.images[id] = NodeImage{Name: id, Target: d.Digest} // as the kubelet's interface adds it
	}
	n.received = append(n.received, layers)
	return names, nil
}

func (n *fakeNode) Tag(_ context.Context, source string, names []string, labels map[string]string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, ok := n.images[source]
	if !ok {
		return fmt.Errorf("image %q: not found", source)
	}
	for _, name := range names {
		n.images[name] = NodeImage{Name: name, Target: from.Target, Labels: labels}
	}
	return nil
}

func (n *fakeNode) Images(context.Context) ([]NodeImage, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	running := map[digest.Digest]bool{}
	for name := range n.running {
		running[n.images[name].Target] = true
	}
	var list []NodeImage
	for _, img := range n.images {
		img.Running = running[img.Target]
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b NodeImage) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (n *fakeNode) Mirrors(_ context.Context, registry string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.mirrors[registry]
	return ok, nil
}

func (n *fakeNode) Pull(_ context.Context, ref string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	registry, _, _ := strings.Cut(ref, "/")
	if err := n.mirrors[registry]; err != nil {
		return err
	}
	n.images[ref] = NodeImage{Name: ref, Target: digest.FromString(ref)}
	return nil
}

// Remove drops the snapshots that no image needs any more, as containerd's
// garbage collector does.
func (n *fakeNode) Remove(_ context.Context, names []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		delete(n.images, name)
	}
	n.snapshots = map[digest.Digest]bool{}
	for _, img := range n.images {
		for _, c := range n.manifests[img.Target] {
			n.snapshots[c] = true
		}
	}
	return nil
}

// tarLayer is a layer with one file.
func tarLayer(t testing.TB, name, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// imageOf puts an image of uncompressed layers into the layout of images.
func imageOf(t testing.TB, images *Images, names []string, layers ...[]byte) layout.NamedImage {
	t.Helper()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	var list []layout.Layer
	for _, data := range layers {
		d, size, err := images.cache.Add(bytes.NewReader(data), "")
		if err != nil {
			t.Fatal(err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d)
		list = append(list, layout.Layer{Digest: d, Size: size, MediaType: ocispec.MediaTypeImageLayer})
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	img, err := layout.NewImage(raw, list)
	if err != nil {
		t.Fatal(err)
	}
	return layout.NamedImage{Image: img, Names: names}
}
