//go:build unix

package watch

import "syscall"

func fifo(name string) error { return syscall.Mkfifo(name, 0o644) }
