package image

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	bkclient "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// addOCILayout offers an OCI layout folder as an additional context. value is
// path[:tag][@digest].
func addOCILayout(opt *bkclient.SolveOpt, name, value string) error {
	dir, want, pinned := strings.Cut(value, "@")
	tag := ""
	if _, err := os.Stat(dir); err != nil {
		if at := strings.LastIndex(dir, ":"); at > strings.LastIndex(dir, "/") {
			dir, tag = dir[:at], dir[at+1:]
		}
	}
	if !pinned {
		d, err := layoutDigest(dir, tag)
		if err != nil {
			return fmt.Errorf("build.additional_contexts %q: %w", name, err)
		}
		want = d.String()
	}
	store, err := contentlocal.NewStore(dir)
	if err != nil {
		return fmt.Errorf("build.additional_contexts %q: %w", name, err)
	}
	if opt.OCIStores == nil {
		opt.OCIStores = map[string]content.Store{}
	}
	opt.OCIStores[name] = store
	opt.FrontendAttrs["context:"+name] = "oci-layout://" + name + "@" + want
	return nil
}

// layoutDigest finds the manifest that a layout's index has under a tag, or
// its only one.
func layoutDigest(dir, tag string) (digest.Digest, error) {
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return "", err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return "", fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	for _, m := range index.Manifests {
		ref := m.Annotations[ocispec.AnnotationRefName]
		if tag != "" && (ref == tag || strings.HasSuffix(ref, ":"+tag)) || tag == "" && len(index.Manifests) == 1 {
			return m.Digest, nil
		}
	}
	if tag == "" {
		return "", fmt.Errorf("%s holds %d images: name one with :tag or @digest", dir, len(index.Manifests))
	}
	return "", fmt.Errorf("%s has no image tagged %q", dir, tag)
}
