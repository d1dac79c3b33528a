package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// WriteFile writes one file into a container, running or not. Its folder must
// exist there. It does not reach tmpfs mounts (/run, /tmp of a node): the
// engine writes below them.
func (c *Client) WriteFile(ctx context.Context, id, name string, mode fs.FileMode, data []byte) error {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: path.Base(name), Mode: int64(mode.Perm()), Size: int64(len(data))}
	if err := errors.Join(tw.WriteHeader(header), writeAll(tw, data), tw.Close()); err != nil {
		return err
	}
	return c.api.CopyToContainer(ctx, id, path.Dir(name), &buf, container.CopyToContainerOptions{})
}

func writeAll(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

// ReadFile reads one file of a container, running or not. A file that is not
// there is fs.ErrNotExist.
func (c *Client) ReadFile(ctx context.Context, id, name string) ([]byte, error) {
	r, _, err := c.api.CopyFromContainer(ctx, id, name)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tr := tar.NewReader(r)
	header, err := tr.Next()
	if err != nil {
		return nil, err
	}
	if header.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return io.ReadAll(tr)
}

// labelReader is on the containers that images are read through.
const labelReader = "dev.berth.reader"

// readWithin is how long reading a file takes at most: older containers were
// left by a process that was killed.
const readWithin = 10 * time.Minute

// ReadImageFile reads one file of an image that the engine holds, through a
// container that is made for it and never started.
func (c *Client) ReadImageFile(ctx context.Context, image, name string) (data []byte, err error) {
	if err := c.removeReaders(ctx, time.Now().Add(-readWithin)); err != nil {
		return nil, err
	}
	made, err := c.api.ContainerCreate(ctx, &container.Config{
		Image: image, Entrypoint: []string{"/none"}, Labels: map[string]string{labelReader: "true"},
	}, nil, nil, nil, "")
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, c.RemoveContainer(context.WithoutCancel(ctx), made.ID))
	}()
	return c.ReadFile(ctx, made.ID, name)
}

// removeReaders removes the containers that ReadImageFile made before a moment.
func (c *Client) removeReaders(ctx context.Context, before time.Time) error {
	left, err := c.Containers(ctx, labelReader)
	if err != nil {
		return err
	}
	for _, r := range left {
		if r.Created.Before(before) {
			if err := c.RemoveContainer(ctx, r.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// CopyTo unpacks a tar below dir of a container, running or not; missing
// folders are made. It does not reach tmpfs mounts.
func (c *Client) CopyTo(ctx context.Context, id, dir string, archive io.Reader) error {
	return c.api.CopyToContainer(ctx, id, dir, archive, container.CopyToContainerOptions{})
}
