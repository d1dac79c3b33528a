package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/rootfs"
	"github.com/berth-dev/berth/infra/agent/supervise"
	"github.com/berth-dev/berth/infra/agent/wire"
)

// syncFiles carries out the file operations in body, in order, and stops at the
// first that fails.
func syncFiles(id string, body io.Reader) (wire.SyncValue, error) {
	var done wire.SyncValue
	c, err := rootfs.OpenContainer(id)
	if err != nil {
		return done, err
	}
	defer c.Close()
	files := wire.NewFileReader(body)
	for {
		f, err := files.Next()
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, err
		}
		if err := apply(c, f, files); err != nil {
			return done, syncError(f, err)
		}
		if f.Kind == wire.FileRemoval {
			done.Removed++
		} else {
			done.Written++
			done.Bytes += f.Size
		}
	}
}

func apply(c *rootfs.Container, f wire.File, content io.Reader) error {
	mode := fs.FileMode(f.Mode).Perm()
	switch f.Kind {
	case wire.FileContent:
		return c.WriteFile(f.Target, mode, content)
	case wire.FileDir:
		return c.Mkdir(f.Target, mode)
	case wire.FileLink:
		return c.Symlink(f.Target, f.Link)
	default: // the reader lets nothing else through
		return c.Remove(f.Target)
	}
}

func syncError(f wire.File, err error) error {
	if errors.Is(err, unix.EROFS) {
		return &wire.Error{Code: wire.CodeReadOnly, Message: fmt.Sprintf("%s is on a read-only volume", f.Target)}
	}
	return fmt.Errorf("%s %s: %w", f.Kind, f.Target, err)
}

// askSupervisor passes a request on to a container's first process.
func askSupervisor(ctx context.Context, args wire.SupervisorArgs) (wire.SupervisorValue, error) {
	pid, err := rootfs.PID(args.Container)
	if err != nil {
		return wire.SupervisorValue{}, err
	}
	r, err := supervise.Ask(ctx, pid, supervise.Request{Op: args.Request, Starts: args.Starts, Running: args.Running})
	if errors.Is(err, supervise.ErrNone) {
		return wire.SupervisorValue{}, &wire.Error{Code: wire.CodeNoSupervisor, Message: err.Error()}
	}
	return wire.SupervisorValue{Running: r.Running, Pid: r.Pid, Starts: r.Starts, Status: r.Status, Failure: r.Failure}, err
}
