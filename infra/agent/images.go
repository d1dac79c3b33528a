package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// Ping returns when the agent has answered.
func (n *Node) Ping(ctx context.Context) error {
	_, err := n.ask(ctx, wire.OpPing, nil)
	return err
}

// Snapshots lists the committed snapshots of the node's containerd by key: the
// chain IDs of all layers it has, as sha256:... (A layer's blob may be gone.)
func (n *Node) Snapshots(ctx context.Context) (map[string]bool, error) {
	out, err := n.ask(ctx, wire.OpSnapshots, nil)
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		keys[strings.TrimSpace(line)] = true
	}
	return keys, nil
}

// Images lists the names in Kubernetes' namespace of the node's containerd with
// the digest of the manifest or index they stand for.
func (n *Node) Images(ctx context.Context) (map[string]string, error) {
	out, err := n.ask(ctx, wire.OpImages, nil)
	if err != nil {
		return nil, err
	}
	images := map[string]string{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for decoder.More() {
		var i wire.Image
		if err := decoder.Decode(&i); err != nil {
			return nil, err
		}
		images[i.Name] = i.Digest
	}
	return images, nil
}

// ImportImage gives containerd the tar of an OCI layout, for one platform
// ("linux/amd64"). Layers the node has as snapshots may be left out. The tar is
// read once, and not beyond the return.
func (n *Node) ImportImage(ctx context.Context, platform string, tar io.Reader) error {
	return n.once(ctx, wire.OpImportImage, wire.ImportArgs{Platform: platform}, tar, nil, nil)
}

// TagImage gives the image called source (in full: docker.io/library/web:dev)
// the name target too. A source that is not there is fs.ErrNotExist.
func (n *Node) TagImage(ctx context.Context, source, target string) error {
	_, err := n.ask(ctx, wire.OpTagImage, wire.TagArgs{Source: source, Target: target})
	return err
}

// RemoveImages removes names from the node; those it does not have are no
// error. Layers that nothing else uses go with them.
func (n *Node) RemoveImages(ctx context.Context, names ...string) error {
	_, err := n.ask(ctx, wire.OpRemoveImages, wire.RemoveArgs{Names: names})
	return err
}
