package offline

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A nodeImageSpec is one image that nodes hold from the start: a static
// program, on the network tools or on nothing.
type nodeImageSpec struct {
	ref        string // fully qualified
	binary     string // the program on this machine; "" for none
	path       string // where it lies in the image
	base       string // archive of a root file system below it; "" for none
	entrypoint []string
}

// image makes the image. Layers are compressed with zstd, which nodes unpack
// several times faster than gzip.
func (s nodeImageSpec) image() (v1.Image, error) {
	var layers []v1.Layer
	if s.base != "" {
		l, err := fileLayer(func() (io.ReadCloser, error) { return os.Open(s.base) })
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	if s.binary != "" {
		raw, err := os.ReadFile(s.binary)
		if err != nil {
			return nil, err
		}
		archive, err := tarOf(tarFile{name: s.path[1:], mode: 0o755, data: raw})
		if err != nil {
			return nil, err
		}
		l, err := fileLayer(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil })
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: time.Unix(0, 0)}
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	config.Config.Entrypoint = s.entrypoint
	return mutate.ConfigFile(img, config)
}

func fileLayer(open tarball.Opener) (v1.Layer, error) {
	return tarball.LayerFromOpener(open, tarball.WithCompression(compression.ZStd), tarball.WithMediaType(types.OCILayerZStd))
}

// writeLayout writes images as one OCI layout below dir, sharing layers.
func writeLayout(ctx context.Context, dir string, specs []nodeImageSpec) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	for _, s := range specs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		img, err := s.image()
		if err != nil {
			return fmt.Errorf("image %q: %w", s.ref, err)
		}
		err = l.AppendImage(img, layout.WithAnnotations(map[string]string{"io.containerd.image.name": s.ref}),
			layout.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
		if err != nil {
			return fmt.Errorf("image %q: %w", s.ref, err)
		}
	}
	return nil
}

// tarTree writes the files below dir as an archive; owners are root, times
// zero. Mode, when not nil, chooses the permissions.
func tarTree(out io.Writer, dir, prefix string, mode func(path string, info fs.FileInfo) int64) error {
	w := tar.NewWriter(out)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name = filepath.ToSlash(filepath.Join(prefix, rel))
		h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime = 0, 0, "", "", time.Unix(0, 0)
		if mode != nil {
			h.Mode = mode(rel, info)
		}
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	})
	return errors.Join(err, w.Close())
}

// writeFile fills a new file.
func writeFile(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(fill(b), b.Flush(), f.Close())
}
