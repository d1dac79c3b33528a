package docker

import "context"

// Arch is the Go architecture (amd64, arm64) of the engine and its containers.
func (c *Client) Arch(ctx context.Context) (string, error) {
	v, err := c.api.ServerVersion(ctx)
	return v.Arch, err
}
