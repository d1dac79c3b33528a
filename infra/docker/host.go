package docker

import (
	"context"
	"os"
	"runtime"
	"strings"
)

// Local reports whether the engine runs on this very machine, so that files in
// /proc and listening sockets here say something about it. Docker Desktop and
// Colima keep the engine in a virtual machine and are not local.
func (c *Client) Local() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	path, ok := strings.CutPrefix(c.Host(), "unix://")
	if !ok || strings.Contains(path, "/.docker/desktop/") || strings.Contains(path, "/.colima/") {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}

// Arch is the Go architecture (amd64, arm64) of the engine and its containers.
func (c *Client) Arch(ctx context.Context) (string, error) {
	v, err := c.api.ServerVersion(ctx)
	return v.Arch, err
}
