package image

import (
	"context"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Node is what loading needs of a cluster node. The one for kind nodes is
// made by NewNode.
type Node interface {
	Name() string
	// Open gets ready for the rest, which does so itself when it has to.
	Open(ctx context.Context) error
	// State lists the node's unpacked layers, and the records of images that
	// have one of the names or the digest (of a manifest or index; "" for none).
	State(ctx context.Context, names []string, d digest.Digest) (NodeState, error)
	// Unpacked lists, of the images with these names, those whose layers are all
	// unpacked: less than State tells, and sooner.
	Unpacked(ctx context.Context, names []string) (map[string]digest.Digest, error)
	// Import gives the node an OCI archive of size bytes.
	Import(ctx context.Context, platform string, labels map[string]string, size int64, archive io.Reader) error
	// Tag gives the image called source the further names.
	Tag(ctx context.Context, source string, names []string, labels map[string]string) error
	// Images lists every record of an image, and says which run.
	Images(ctx context.Context) ([]NodeImage, error)
	// Remove takes records off; those that are gone are no error.
	Remove(ctx context.Context, names []string) error
}

// NodeState is what a node has of an image.
type NodeState struct {
	Images    map[string]digest.Digest // by full name: the manifest or index it stands for
	Snapshots map[digest.Digest]bool   // chain IDs
}

// NodeImage is one record of an image on a node.
type NodeImage struct {
	Name    string // full, or sha256:... where the kubelet refers to it by ID
	Target  digest.Digest
	Labels  map[string]string
	Running bool // a container on the node was made from its target
}

// Labels on the records of images that berth loaded for a project.
const (
	labelNodeProject = "dev.berth.project"
	labelNodeLoaded  = "dev.berth.loaded" // when, in seconds since 1970
)

// loadedAt is when a record was loaded, as far as it says so.
func (n NodeImage) loadedAt() time.Time {
	return parseUnix(n.Labels[labelNodeLoaded])
}
