package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/berth-dev/berth/infra/agent/wire"
	"github.com/berth-dev/berth/infra/model"
)

// ErrNoSupervisor is a container whose program cannot be started again in place.
var ErrNoSupervisor = errors.New("the container has no supervisor")

// Sync carries out file operations in a running container of this node, by its
// containerd id, in order. Owner and mode of a replaced file stay; a new one gets the
// mode of its source and the owner of its directory; directories are made as
// needed; links are followed inside the container and never out of it. A source
// that has gone meanwhile is left out: its removal is a change of its own. So is one that
// cannot be read; *model.Unreadable then says which and why, and the rest is done. A container
// that does not run any more is fs.ErrNotExist.
func (n *Node) Sync(ctx context.Context, container string, files []model.FileSync) error {
	for attempt := 0; ; attempt++ {
		left := &model.Unreadable{}
		sent := make(chan struct{})
		body, in := io.Pipe()
		go func() {
			defer close(sent)
			in.CloseWithError(sendFiles(in, files, left))
		}()
		err := n.once(ctx, wire.OpSync, wire.SyncArgs{Container: container}, body, nil, nil)
		_ = body.Close() // ends the sender when the agent has not read all
		<-sent
		if err == nil {
			return left.OrNil()
		}
		if attempt > 0 || !errors.Is(err, wire.ErrConnection) {
			return err
		}
	}
}

func sendFiles(w io.Writer, files []model.FileSync, left *model.Unreadable) error {
	for _, f := range files {
		if err := sendFile(w, f, left); err != nil {
			return err
		}
	}
	return nil
}

// sendFile sends one operation, or adds to left why its source cannot be read.
func sendFile(w io.Writer, f model.FileSync, left *model.Unreadable) error {
	if f.Op == model.FileRemoved {
		return wire.WriteFile(w, wire.File{Kind: wire.FileRemoval, Target: f.Target}, nil)
	}
	unreadable := func(err error) error {
		if !errors.Is(err, fs.ErrNotExist) {
			left.Add(err)
		}
		return nil
	}
	info, err := os.Lstat(f.Source)
	if err != nil {
		return unreadable(err)
	}
	out := wire.File{Target: f.Target, Mode: uint32(info.Mode().Perm())}
	switch {
	case info.IsDir():
		out.Kind = wire.FileDir
		return wire.WriteFile(w, out, nil)
	case info.Mode()&fs.ModeSymlink != 0:
		out.Kind = wire.FileLink
		if out.Link, err = os.Readlink(f.Source); err != nil {
			return unreadable(err)
		}
		return wire.WriteFile(w, out, nil)
	case !info.Mode().IsRegular():
		return unreadable(fmt.Errorf("%s is neither a file, a directory nor a link", f.Source))
	}
	out.Kind = wire.FileContent
	return SendSteady(f.Source, left, func(info fs.FileInfo, size int64, content io.Reader) error {
		out.Mode, out.Size = uint32(info.Mode().Perm()), size
		return wire.WriteFile(w, out, content)
	})
}

// Restart starts the program of a supervised container again, in the same
// container, and returns when the new one listens on the TCP ports on which the
// last one did, has ended, or takes longer than ten seconds. Without a
// supervisor it fails with ErrNoSupervisor.
func (n *Node) Restart(ctx context.Context, container string) (Program, error) {
	return n.supervisor(ctx, wire.SupervisorArgs{Container: container, Request: "restart"})
}

// Start starts the program of a supervised container unless it runs.
func (n *Node) Start(ctx context.Context, container string) (Program, error) {
	return n.supervisor(ctx, wire.SupervisorArgs{Container: container, Request: "start"})
}

// AwaitProgram returns when the program of a supervised container has been
// started or has ended since it was as known says.
func (n *Node) AwaitProgram(ctx context.Context, container string, known Program) (Program, error) {
	return n.supervisor(ctx, wire.SupervisorArgs{Container: container, Request: "await", Starts: known.Starts, Running: known.Running})
}

// Program is what a supervisor says of its program.
type Program struct {
	Running bool
	Pid     int    // as the container sees it
	Starts  int    // so far, the first included
	Status  int    // exit status of the last end, 128+n for signal n
	Failure string // why the last start failed; "" when it did not
}

func (n *Node) supervisor(ctx context.Context, args wire.SupervisorArgs) (Program, error) {
	var v wire.SupervisorValue
	err := n.once(ctx, wire.OpSupervisor, args, nil, nil, &v)
	if errors.Is(err, &wire.Error{Code: wire.CodeNoSupervisor}) {
		return Program{}, fmt.Errorf("container %q: %w", args.Container, ErrNoSupervisor)
	}
	return Program(v), err
}

// LogUntil copies a container's log, as Log does, up to what is written when the
// command is known to have ended: until returns then. Its error is returned.
func (n *Node) LogUntil(ctx context.Context, container string, out io.Writer, until func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, ended := io.Pipe()
	go func() { // a failure cuts the call; until ends soon after ctx
		_ = ended.CloseWithError(until(ctx))
	}()
	return n.once(ctx, wire.OpLogs, wire.LogsArgs{Container: container, Tail: -1, Follow: true, UntilEOF: true}, body, out, nil)
}

// Log copies the last lines of a container's log (all if lines is negative) to out,
// as the container runtime writes them (time, stream, P or F, text), and with
// follow those to come until the log is removed or ctx ends.
func (n *Node) Log(ctx context.Context, container string, lines int, follow bool, out io.Writer) error {
	return n.once(ctx, wire.OpLogs, wire.LogsArgs{Container: container, Tail: lines, Follow: follow}, nil, out, nil)
}
