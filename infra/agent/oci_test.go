package agent

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
)

// ociImage is an image made by hand: uncompressed layers, so that each layer's
// digest is its diff ID.
type ociImage struct {
	name   string
	layers [][]byte
	arch   string
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

type object = map[string]any

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (i ociImage) config(t *testing.T) []byte {
	var ids []string
	for _, l := range i.layers {
		ids = append(ids, digest(l))
	}
	return encode(t, object{"architecture": i.arch, "os": "linux", "config": object{}, "rootfs": object{"type": "layers", "diff_ids": ids}})
}

func (i ociImage) manifest(t *testing.T) []byte {
	const types = "application/vnd.oci.image."
	config := i.config(t)
	var layers []object
	for _, l := range i.layers {
		layers = append(layers, object{"mediaType": types + "layer.v1.tar", "digest": digest(l), "size": len(l)})
	}
	return encode(t, object{"schemaVersion": 2, "mediaType": types + "manifest.v1+json", "layers": layers,
		"config": object{"mediaType": types + "config.v1+json", "digest": digest(config), "size": len(config)}})
}

// layout is the tar of the image.
func (i ociImage) layout(t *testing.T) []byte {
	t.Helper()
	manifest := i.manifest(t)
	index := encode(t, object{"schemaVersion": 2, "manifests": []object{{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
		"platform":    object{"os": "linux", "architecture": i.arch},
		"annotations": object{"io.containerd.image.name": i.name},
	}}})
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index}
	for _, blob := range append([][]byte{manifest, i.config(t)}, i.layers...) {
		files["blobs/sha256/"+digest(blob)[len("sha256:"):]] = blob
	}
	return tarOf(t, files, nil)
}

func tarOf(t *testing.T, files map[string][]byte, headers []tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	write := func(h tar.Header, content []byte) {
		h.Size, h.ModTime = int64(len(content)), time.Unix(0, 0)
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range headers {
		write(h, files[h.Name])
		delete(files, h.Name)
	}
	for name, content := range files {
		write(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// buildApp compiles testdata/app for the engine's architecture.
func buildApp(t *testing.T, arch string) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "app")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "./testdata/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	out, err := build.CombinedOutput()
	raw, readErr := os.ReadFile(binary)
	if err := errors.Join(err, readErr); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return raw
}

// onNode runs ctr on the node.
func onNode(ctx context.Context, engine *docker.Client, n *Node, in io.Reader, args ...string) error {
	var out bytes.Buffer
	status, err := engine.Exec(ctx, n.name, append([]string{"ctr", "-n", "k8s.io", "images"}, args...), in, &out, &out)
	if err == nil && status != 0 {
		err = fmt.Errorf("ctr %v: exit status %d: %s", args, status, out.String())
	}
	return err
}
