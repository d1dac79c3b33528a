package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// ImageInfo is what the engine says of one image it holds.
type ImageInfo struct {
	ID     string
	Tags   []string
	Labels map[string]string
	Size   int64 // bytes
}

// ImageInfo looks an image up by reference or ID; found is false when the
// engine does not hold it.
func (c *Client) ImageInfo(ctx context.Context, ref string) (info ImageInfo, found bool, err error) {
	got, err := c.api.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return ImageInfo{}, false, nil
	}
	if err != nil {
		return ImageInfo{}, false, err
	}
	info = ImageInfo{ID: got.ID, Tags: got.RepoTags, Size: got.Size}
	if got.Config != nil {
		info.Labels = got.Config.Labels
	}
	return info, true, nil
}

// LoadArchive gives the engine the images of a docker or OCI archive (tar).
func (c *Client) LoadArchive(ctx context.Context, archive io.Reader) error {
	resp, err := c.api.ImageLoad(ctx, archive)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return streamError(resp.Body)
}

// ImportRootfs makes an image of one layer from a file system (tar) and gives
// it a name. Changes are Dockerfile instructions: ENV, CMD, LABEL ...
func (c *Client) ImportRootfs(ctx context.Context, rootfs io.Reader, ref string, changes []string) error {
	body, err := c.api.ImageImport(ctx, image.ImportSource{Source: rootfs, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return err
	}
	defer body.Close()
	return streamError(body)
}

// Commit makes an image of a container's file system and names it. Changes are
// Dockerfile instructions applied to the container's configuration.
func (c *Client) Commit(ctx context.Context, id, ref string, changes []string) error {
	_, err := c.api.ContainerCommit(ctx, id, container.CommitOptions{Reference: ref, Changes: changes, Pause: true})
	return err
}

// TagImage gives an image a further name.
func (c *Client) TagImage(ctx context.Context, ref, name string) error {
	return c.api.ImageTag(ctx, ref, name)
}

// streamError reads an engine's stream of JSON messages to its end and returns
// the error among them, if any.
func streamError(r io.Reader) error {
	dec := json.NewDecoder(bufio.NewReader(r))
	for {
		var m struct {
			Error string `json:"error"`
		}
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the engine's answer: %w", err)
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}
