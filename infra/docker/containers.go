package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// A Container is what the engine says of one container.
type Container struct {
	ID      string
	Name    string // without the leading slash
	Image   string // as it was named when the container was made
	ImageID string
	State   string // created, running, paused, restarting, removing, exited, dead
	Status  string // for people: Up 3 minutes
	Labels  map[string]string
	Ports   []PortBinding
	IPs     map[string]netip.Addr // IPv4 address by network name; none while it is stopped
	Created time.Time
}

// Running reports whether the container's processes run.
func (c Container) Running() bool { return c.State == container.StateRunning }

// A PortBinding is one port of a container and, unless HostPort is 0, the
// port of the host that leads to it.
type PortBinding struct {
	HostIP        string
	HostPort      int
	ContainerPort int
	Protocol      string // tcp, udp or sctp
}

// Containers lists the containers, running or not, that carry every one of the
// labels ("key" or "key=value"), by name.
func (c *Client) Containers(ctx context.Context, labels ...string) ([]Container, error) {
	args := filters.NewArgs()
	for _, l := range labels {
		args.Add("label", l)
	}
	list, err := c.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := make([]Container, 0, len(list))
	for _, s := range list {
		all = append(all, containerOf(s))
	}
	slices.SortFunc(all, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func containerOf(s container.Summary) Container {
	c := Container{
		ID: s.ID, Image: s.Image, ImageID: s.ImageID, State: s.State, Status: s.Status,
		Labels: s.Labels, IPs: map[string]netip.Addr{}, Created: time.Unix(s.Created, 0),
	}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	for _, p := range s.Ports {
		c.Ports = append(c.Ports, PortBinding{
			HostIP: p.IP, HostPort: int(p.PublicPort), ContainerPort: int(p.PrivatePort), Protocol: p.Type,
		})
	}
	if s.NetworkSettings != nil {
		for name, n := range s.NetworkSettings.Networks {
			if ip, err := netip.ParseAddr(n.IPAddress); err == nil {
				c.IPs[name] = ip
			}
		}
	}
	return c
}

// StartContainer starts a stopped container; one that runs is left alone.
func (c *Client) StartContainer(ctx context.Context, id string) error {
	return c.api.ContainerStart(ctx, id, container.StartOptions{})
}

// StopContainer asks the container to stop and kills it after grace, rounded
// down to seconds.
func (c *Client) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	seconds := int(grace / time.Second)
	return c.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
}

// RemoveContainer kills and removes a container and its anonymous volumes. One
// that is gone, or is being removed by somebody else, is no error.
func (c *Client) RemoveContainer(ctx context.Context, id string) error {
	err := c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// RenameContainer gives a container another name.
func (c *Client) RenameContainer(ctx context.Context, id, name string) error {
	return c.api.ContainerRename(ctx, id, name)
}

// IsNotFound reports whether the engine says that there is no such thing.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }

// SetRestartPolicy changes what the engine does when the container ends or the
// engine itself starts: no, always, unless-stopped.
func (c *Client) SetRestartPolicy(ctx context.Context, id, policy string) error {
	_, err := c.api.ContainerUpdate(ctx, id, container.UpdateConfig{
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)},
	})
	return err
}

// Signal sends a signal (SIGHUP) to the container's first process.
func (c *Client) Signal(ctx context.Context, id, signal string) error {
	return c.api.ContainerKill(ctx, id, signal)
}
