package docker

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// A Volume is a volume of the engine.
type Volume struct {
	Name       string
	Mountpoint string // folder of its data on the engine's host
	Labels     map[string]string
}

// CreateVolume makes a volume; one of that name that exists is left as it is.
func (c *Client) CreateVolume(ctx context.Context, name string, labels map[string]string) (Volume, error) {
	v, err := c.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	if err != nil {
		return Volume{}, fmt.Errorf("make volume %q: %w", name, err)
	}
	return Volume{Name: v.Name, Mountpoint: v.Mountpoint, Labels: v.Labels}, nil
}

// Volumes lists the volumes that carry every one of the labels ("key" or
// "key=value"), by name.
func (c *Client) Volumes(ctx context.Context, labels ...string) ([]Volume, error) {
	args := filters.NewArgs()
	for _, l := range labels {
		args.Add("label", l)
	}
	list, err := c.api.VolumeList(ctx, volume.ListOptions{Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	all := make([]Volume, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		all = append(all, Volume{Name: v.Name, Mountpoint: v.Mountpoint, Labels: v.Labels})
	}
	slices.SortFunc(all, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// RemoveVolume removes a volume with its data. One that is gone is no error.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	if err := c.api.VolumeRemove(ctx, name, true); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	return nil
}

// VolumeAt returns the volume that a container has at a path, or
// fs.ErrNotExist.
func (c *Client) VolumeAt(ctx context.Context, id, path string) (Volume, error) {
	info, err := c.api.ContainerInspect(ctx, id)
	if err != nil {
		return Volume{}, err
	}
	for _, m := range info.Mounts {
		if m.Type == mount.TypeVolume && m.Destination == path {
			return Volume{Name: m.Name, Mountpoint: m.Source}, nil
		}
	}
	return Volume{}, fmt.Errorf("a volume at %s of container %q: %w", path, strings.TrimPrefix(info.Name, "/"), fs.ErrNotExist)
}

// PauseContainer freezes all processes of a running container at once. One
// that is frozen already is no error.
func (c *Client) PauseContainer(ctx context.Context, id string) error {
	return c.unless(ctx, id, container.StatePaused, c.api.ContainerPause(ctx, id))
}

// UnpauseContainer lets the processes of a frozen container go on. One that
// runs is no error.
func (c *Client) UnpauseContainer(ctx context.Context, id string) error {
	return c.unless(ctx, id, container.StateRunning, c.api.ContainerUnpause(ctx, id))
}

// KillContainer ends all processes of a container at once. One that does not
// run is no error.
func (c *Client) KillContainer(ctx context.Context, id string) error {
	err := c.api.ContainerKill(ctx, id, "KILL")
	if errdefs.IsConflict(err) { // it does not run
		return nil
	}
	return err
}

// unless drops err when the container is in the wanted state all the same.
func (c *Client) unless(ctx context.Context, id, state string, err error) error {
	if err == nil {
		return nil
	}
	if info, inspectErr := c.api.ContainerInspect(ctx, id); inspectErr == nil && info.State.Status == state {
		return nil
	}
	return err
}
