package docker

import (
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
