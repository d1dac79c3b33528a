package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// A RunSpec says what container to make for a piece of work. The zero value of
// a field leaves that to the image or the engine.
type RunSpec struct {
	Image      string
	Name       string
	Entrypoint []string // replaces the image's, with its command
	Cmd        []string
	Env        []string // NAME=value
	User       string
	Labels     map[string]string
	Privileged bool
	Network    string            // none, host or a network's name
	Binds      []string          // host path or volume:container path[:ro]
	Tmpfs      map[string]string // mount options by path

	Ports      []PortBinding // to publish, each on the very port it names
	Restart    string        // restart policy; with one, the log is of bounded size and always readable
	StopSignal string
	Confined   bool // no capabilities, and none to be gained
}

func (s RunSpec) config() (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image: s.Image, Entrypoint: s.Entrypoint, Cmd: s.Cmd, Env: s.Env, User: s.User, Labels: s.Labels,
		StopSignal: s.StopSignal, ExposedPorts: nat.PortSet{},
	}
	host := &container.HostConfig{
		Privileged: s.Privileged, NetworkMode: container.NetworkMode(s.Network), Binds: s.Binds, Tmpfs: s.Tmpfs,
		PortBindings:  nat.PortMap{},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(s.Restart)},
	}
	for _, p := range s.Ports {
		port := nat.Port(fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol))
		config.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = append(host.PortBindings[port],
			nat.PortBinding{HostIP: p.HostIP, HostPort: strconv.Itoa(p.HostPort)})
	}
	if s.Restart != "" {
		host.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "256k", "max-file": "1"}}
	}
	if s.Confined {
		host.CapDrop, host.SecurityOpt = []string{"ALL"}, []string{"no-new-privileges"}
	}
	return config, host
}

// CreateContainer makes a container without starting it and returns its ID.
// The image must be in the engine.
func (c *Client) CreateContainer(ctx context.Context, spec RunSpec) (string, error) {
	config, host := spec.config()
	made, err := c.api.ContainerCreate(ctx, config, host, nil, nil, spec.Name)
	if err != nil {
		return "", fmt.Errorf("make a container of image %q: %w", spec.Image, err)
	}
	return made.ID, nil
}

// Run starts a container, passes its output to out, waits for its end and
// removes it. A non-zero exit is an ExitError with the last lines of output.
func (c *Client) Run(ctx context.Context, spec RunSpec, out io.Writer) (err error) {
	id, err := c.CreateContainer(ctx, spec)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.RemoveContainer(context.WithoutCancel(ctx), id))
	}()
	attached, err := c.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	ended, failed := c.api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := c.StartContainer(ctx, id); err != nil {
		return fmt.Errorf("start a container of image %q: %w", spec.Image, err)
	}
	var tail tailBuffer
	if _, err := stdcopy.StdCopy(io.MultiWriter(out, &tail), io.MultiWriter(out, &tail), attached.Reader); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case r := <-ended:
		if r.StatusCode != 0 {
			return &ExitError{Command: spec.Image, Code: int(r.StatusCode), Output: tail.String()}
		}
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// An ExitError is a command that ended with another status than 0.
type ExitError struct {
	Command string
	Code    int
	Output  string // its last lines, stdout and stderr together
}

// Error names the command, its status and its last lines.
func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: exit status %d", e.Command, e.Code)
	if e.Output != "" {
		msg += "\n" + e.Output
	}
	return msg
}

// tailBuffer keeps the last few kilobytes written to it.
type tailBuffer struct{ buf bytes.Buffer }

const tailSize = 4096

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if extra := t.buf.Len() - tailSize; extra > 0 {
		t.buf.Next(extra)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return strings.TrimRight(t.buf.String(), "\n") }
