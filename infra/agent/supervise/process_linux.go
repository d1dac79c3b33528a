package supervise

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawn starts the program in a process group of its own: what it sends to its
// group must not reach the supervisor.
func spawn(opts Options, dir string) (int, error) {
	file, err := lookUp(opts.Command[0], dir)
	if err != nil {
		return 0, err
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	if isTerminal(opts.Stdin) {
		attr.Foreground, attr.Ctty = true, 0
	}
	pid, err := syscall.ForkExec(file, opts.Command, &syscall.ProcAttr{
		Dir: dir, Env: os.Environ(), Sys: attr,
		Files: []uintptr{opts.Stdin.Fd(), opts.Stdout.Fd(), opts.Stderr.Fd()},
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return pid, nil
}

// lookUp finds a command as the container runtime does: by path, or along PATH.
func lookUp(command, dir string) (string, error) {
	if strings.Contains(command, "/") {
		return command, nil
	}
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	for _, p := range filepath.SplitList(path) {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		file := filepath.Join(p, command)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && unix.Access(file, unix.X_OK) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%q is not in %s: %w", command, path, fs.ErrNotExist)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// endRest kills what the program has left behind, as the kernel does when a
// container's first process ends. Processes that came from outside (kubectl
// exec) are no descendants and live on.
func (s *supervisor) endRest() {
	deadline := time.After(2 * time.Second)
	for {
		left := childrenOf(os.Getpid())
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			// One that has ended is only to be reaped; its own children become ours.
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		select {
		case <-s.children:
		case <-time.After(time.Millisecond):
		case <-deadline: // not even SIGKILL ends it: the kernel holds it
			return
		}
	}
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // without /proc nothing can be found, nor left behind for long
	}
	var found []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid ...; the name may hold anything
		_, rest, ok := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}
