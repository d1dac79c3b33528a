package docker

import (
	"context"
	"net"
)

// Dial opens a connection to an endpoint of the engine's API that speaks
// another protocol after the handshake: BuildKit's /grpc and /session.
func (c *Client) Dial(ctx context.Context, path, protocol string, header map[string][]string) (net.Conn, error) {
	return c.api.DialHijack(ctx, path, protocol, header)
}
