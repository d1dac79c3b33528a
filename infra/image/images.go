package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	bkclient "github.com/moby/buildkit/client"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image/layout"
)

// Options are what the caller knows and this package does not.
type Options struct {
	CacheDir string              // where layers are kept; "" for berth/images in the user's cache folder
	Getenv   func(string) string // variables: SSH_AUTH_SOCK, BERTH_IMAGE_CACHE_MB; nil for the process's own
}

// DefaultCacheLimit bounds the layers kept on the host, in bytes. The variable
// BERTH_IMAGE_CACHE_MB overrides it.
const DefaultCacheLimit = 8 << 30

// Images builds, fetches and loads images through one engine. It is safe for
// concurrent use.
type Images struct {
	engine *docker.Client
	cache  *layout.Store
	limit  int64
	pile   int // how many images may pile up on a node that a name stood for, before they go
	getenv func(string) string

	storeMu    sync.Mutex // held while the engine is asked
	storeKnown bool
	store      bool // the engine keeps images in containerd

	mu            sync.Mutex
	own           string               // the engine's platform, "" before it was asked
	worker        *bkclient.WorkerInfo // of the engine's BuildKit, nil before it was asked
	builtinSyntax bool                 // the frontend image that `# syntax=` names cannot be had
	saidClassic   bool
	nodes         map[string]*seenNode // by name
}

// New uses the images of an engine.
func New(engine *docker.Client, opts Options) (*Images, error) {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	dir := opts.CacheDir
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the user's cache folder: %w", err)
		}
		dir = filepath.Join(base, "berth", "images")
	}
	cache, err := layout.Open(dir)
	if err != nil {
		return nil, err
	}
	limit := int64(DefaultCacheLimit)
	if mb, err := strconv.ParseInt(opts.Getenv("BERTH_IMAGE_CACHE_MB"), 10, 64); err == nil && mb >= 0 {
		limit = mb << 20
	}
	return &Images{engine: engine, cache: cache, limit: limit, pile: keepReplaced, getenv: opts.Getenv, nodes: map[string]*seenNode{}}, nil
}

// containerdStore asks the engine where it keeps images, until it has answered
// once.
func (i *Images) containerdStore(ctx context.Context) (bool, error) {
	i.storeMu.Lock()
	defer i.storeMu.Unlock()
	if i.storeKnown {
		return i.store, nil
	}
	store, err := i.engine.ContainerdStore(ctx)
	if err == nil {
		i.store, i.storeKnown = store, true
	}
	return store, err
}

// tagPrefix begins the content tags that berth makes, and only those.
const tagPrefix = "berth-"

// contentTag names an image by its content: the same image, the same tag.
func contentTag(name, id string) string {
	_, encoded, _ := strings.Cut(id, ":")
	return repository(name) + ":" + tagPrefix + encoded[:min(12, len(encoded))]
}

// ownBuild reports whether berth built the image with an ID and tags: it gave it
// its content tag.
func ownBuild(id string, tags []string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool { return tag == contentTag(tag, id) })
}
