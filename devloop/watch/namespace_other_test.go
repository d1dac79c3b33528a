//go:build !linux

package watch

import (
	"errors"
	"os/exec"
)

func namespaced(*exec.Cmd, int) error { return errors.New("not on this platform") }
