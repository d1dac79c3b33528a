//go:build !unix

package workshop

import "os/exec"

// ownGroup leaves the command as it is: it alone is killed when its context ends.
func ownGroup(*exec.Cmd) {}
