package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/infra/agent/wire"
)

// podLogs is where the kubelet names the logs of containers.
const podLogs = "/var/log/containers"

// readLog copies lines of a container's log, as they are in the file. The end
// of in ends it where args say so.
func readLog(ctx context.Context, dir string, args wire.LogsArgs, in io.Reader, out io.Writer) error {
	if args.Container == "" || strings.ContainsAny(args.Container, "/*?[\\") {
		return fmt.Errorf("%q is not the id of a container", args.Container)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*-"+args.Container+".log"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("log of container %q: %w", args.Container, fs.ErrNotExist)
	}
	file, err := filepath.EvalSymlinks(found[0])
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	if args.Tail >= 0 {
		if err := seekTail(f, args.Tail); err != nil {
			return err
		}
	}
	if !args.Follow {
		_, err := io.Copy(out, f)
		return err
	}
	following, enough := ctx, func() bool { return false }
	if args.UntilEOF {
		following, enough = untilEOF(ctx, in)
	}
	changes, err := watch(following, filepath.Dir(file))
	if err != nil {
		return err
	}
	defer changes.Close()
	for {
		last := enough() // what was written before that is read in this round
		if _, err := io.Copy(out, f); err != nil {
			return err
		}
		next, err := rotated(f, file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if next != nil {
			// What was written to the old file before the new one was there.
			_, err := io.Copy(out, f)
			f.Close()
			f = next
			if err != nil {
				return err
			}
			continue
		}
		missing := err != nil // between two files, or gone with its pod
		if missing {
			if _, err := os.Stat(filepath.Dir(file)); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		}
		if last {
			return nil
		}
		if err := changes.wait(following, missing); err != nil && !enough() {
			return err
		}
	}
}

// untilEOF is a context that ends with ctx or with in, and whether in has ended.
func untilEOF(ctx context.Context, in io.Reader) (context.Context, func() bool) {
	following, end := context.WithCancel(ctx)
	var ended atomic.Bool
	go func() { // it ends with the request
		defer end()
		if _, err := io.Copy(io.Discard, in); err == nil {
			ended.Store(true)
		}
	}()
	return following, ended.Load
}

// rotated opens the file that has taken the place of f under its name, or
// returns nil when it is still f.
func rotated(f *os.File, name string) (*os.File, error) {
	next, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a, errA := f.Stat()
	b, errB := next.Stat()
	if err := errors.Join(errA, errB); err != nil || os.SameFile(a, b) {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// seekTail moves to the beginning of the last n lines.
func seekTail(f *os.File, n int) error {
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, block)
	for at := end; at > 0; {
		size := min(block, at)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil {
			return err
		}
		for rest := buf[:size]; ; {
			i := bytes.LastIndexByte(rest, '\n')
			if i < 0 {
				break
			}
			if at+int64(i) != end-1 { // the end of the last line begins none
				n--
			}
			if n <= 0 && at+int64(i) != end-1 {
				_, err := f.Seek(at+int64(i)+1, io.SeekStart)
				return err
			}
			rest = rest[:i]
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// changes tells when something happens in a directory.
type changes struct {
	*os.File
	stop func() bool
}

func watch(ctx context.Context, dir string) (*changes, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVE|unix.IN_DELETE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), f.Close())
	}
	return &changes{f, context.AfterFunc(ctx, func() { _ = f.Close() })}, nil
}

// wait returns at the next change, or with soon after a moment: the end of a
// directory shows only when nobody has a file of it open, and we do.
func (c *changes) wait(ctx context.Context, soon bool) error {
	var deadline time.Time
	if soon {
		deadline = time.Now().Add(200 * time.Millisecond)
	}
	err := c.SetReadDeadline(deadline)
	if err == nil {
		_, err = c.Read(make([]byte, 4096)) // which change it is does not matter
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// Close ends the watch.
func (c *changes) Close() error {
	c.stop()
	return c.File.Close()
}
