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
	// Snapshots lists the node's unpacked layers by chain ID.
	Snapshots(ctx context.Context) (map[digest.Digest]bool, error)
	// InUse lists the chain IDs of the images that containers were made from, under
	// whatever names these have now: of each the last.
	InUse(ctx context.Context) (map[digest.Digest]bool, error)
	// Records lists the images that have one of the names or the digest (of a
	// manifest or index; "" for none): by full name what each stands for.
	Records(ctx context.Context, names []string, d digest.Digest) (map[string]digest.Digest, error)
	// Unpacked lists, of the images with these names, those whose layers are all
	// unpacked.
	Unpacked(ctx context.Context, names []string) (map[string]digest.Digest, error)
	// Import gives the node an OCI archive, which may come later. It returns what the node
	// says it has unpacked, as Unpacked does; not every node says.
	Import(ctx context.Context, platform string, labels map[string]string, archive io.Reader) (map[string]digest.Digest, error)
	// Tag gives the image called source the further names.
	Tag(ctx context.Context, source string, names []string, labels map[string]string) error
	// Images lists every record of an image, and says which run.
	Images(ctx context.Context) ([]NodeImage, error)
	// Mirrors reports whether the node was told of a way to a registry, which the
	// engine need not know.
	Mirrors(ctx context.Context, registry string) (bool, error)
	// Pull has the node pull an image by itself, as the kubelet would.
	Pull(ctx context.Context, ref string) error
	// Remove takes records off; those that are gone are no error.
	Remove(ctx context.Context, names []string) error
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
