//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// ownGroup gives the command a process group of its own, all of which is
// interrupted when its context ends; killRest ends what heeds no interrupt.
func ownGroup(cmd *exec.Cmd) (killRest func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	return func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it is no error that nothing is left
		}
	}
}
