// Package docker is the one importer of github.com/docker/docker/client. It
// offers the rest of infra the few things berth asks of an engine, in its own
// words, and knows nothing of Kubernetes or compose.
package docker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/berth-dev/berth/infra/problem"
)

// FreeSpace is the advice on a full disk. `docker system prune` would be none:
// it deletes the nodes of stopped clusters too.
const FreeSpace = "free some disk space: docker builder prune; docker image prune"

// Client talks to one engine. It is safe for concurrent use.
type Client struct {
	api *client.Client
}

// New connects to the engine that the docker CLI would use, by DOCKER_HOST,
// its context or the default socket, and agrees on an API version with it. It
// fails with a Problem when no engine answers.
func New(ctx context.Context) (*Client, error) {
	where, err := environment()
	if err != nil {
		return nil, err
	}
	return connect(ctx, where...)
}

// Connect is New for the engine at host (unix:///path, tcp://host:port),
// whatever DOCKER_HOST says.
func Connect(ctx context.Context, host string) (*Client, error) {
	return connect(ctx, client.WithHost(host))
}

func connect(ctx context.Context, where ...client.Opt) (*Client, error) {
	api, err := client.NewClientWithOpts(append(where, client.WithAPIVersionNegotiation())...)
	if err != nil {
		return nil, problem.New("use the Docker Engine", err, "check DOCKER_HOST")
	}
	c := &Client{api: api}
	ping, err := api.Ping(ctx)
	if err != nil {
		return nil, errors.Join(noEngine(api.DaemonHost(), err), api.Close())
	}
	api.NegotiateAPIVersionPing(ping) // now, so that APIVersion is true and nobody pings again
	return c, nil
}

// noEngine says why the engine at host cannot be used.
func noEngine(host string, err error) error {
	what := "connect to the Docker Engine at " + host
	switch {
	case host == commandHost:
		return problem.New("connect to the Docker Engine through ssh", err, "check that ssh reaches the machine, and that `docker version` works there")
	case strings.HasPrefix(host, "unix:") && (errors.Is(err, fs.ErrPermission) || strings.HasPrefix(err.Error(), "permission denied")):
		return problem.New(what, errors.New("permission denied"), "join the group of the socket (`sudo usermod -aG docker $USER`, then log in again), or run the command as root")
	}
	return problem.New(what, err, noEngineHint())
}

// noEngineHint names podman's socket where there is one: it answers the same
// requests, but nobody chose it.
func noEngineHint() string {
	hint := "start Docker, or set DOCKER_HOST; on Debian or Ubuntu as root, `make engine` installs one"
	for _, socket := range []string{filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman", "podman.sock"), "/run/podman/podman.sock"} {
		if info, err := os.Stat(socket); err == nil && info.Mode().Type() == os.ModeSocket && filepath.IsAbs(socket) {
			return hint + "; podman listens: DOCKER_HOST=unix://" + socket
		}
	}
	return hint
}

// Close ends the connection.
func (c *Client) Close() error { return c.api.Close() }

// Host is the engine's address as DOCKER_HOST would name it.
func (c *Client) Host() string { return c.api.DaemonHost() }

// Info is what the engine says of itself.
func (c *Client) Info(ctx context.Context) (system.Info, error) { return c.api.Info(ctx) }

// APIVersion is the version both sides agreed on.
func (c *Client) APIVersion() string { return c.api.ClientVersion() }
