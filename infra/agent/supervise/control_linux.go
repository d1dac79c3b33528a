package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The requests.
const (
	OpRestart = "restart" // end the program if it runs, start it; answered when it listens where it did before
	OpStart   = "start"   // start it unless it runs
	OpStatus  = "status"
	OpAwait   = "await" // answered when the program has been started or has ended since Request's Starts and Running
)

// Request is one line of JSON to a supervisor.
type Request struct {
	Op      string `json:"op"`
	Starts  int    `json:"starts,omitempty"`  // of OpAwait: what the caller knows
	Running bool   `json:"running,omitempty"` // of OpAwait: what the caller knows
}

// Reply is its answer, one line of JSON.
type Reply struct {
	Running bool   `json:"running"`
	Pid     int    `json:"pid,omitempty"`     // as the container sees it
	Starts  int    `json:"starts"`            // so far
	Status  int    `json:"status"`            // exit status of the last end, 128+n for signal n
	Failure string `json:"failure,omitempty"` // why the last start failed
	Error   string `json:"error,omitempty"`   // what is wrong with the request
}

type request struct {
	Request
	reply chan Reply
	gone  chan struct{} // closed when nobody reads the reply any more
}

func (r request) isGone() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

// Listen opens the socket of this container's supervisor: in no file system,
// because the container's may be read-only, and named after the mount
// namespace, because the containers of a pod share their network's.
func Listen() (net.Listener, error) {
	address, err := addressOf("self")
	if err != nil {
		return nil, err
	}
	return net.Listen("unix", address)
}

func addressOf(process string) (string, error) {
	namespace, err := os.Readlink("/proc/" + process + "/ns/mnt")
	if err != nil {
		return "", err
	}
	return "@berth/init/" + namespace, nil
}

// serveControl passes the requests that arrive at l on until ctx ends.
func serveControl(ctx context.Context, l net.Listener, requests chan<- request) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		open.Go(func() {
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			serveConn(ctx, c, requests)
		})
	}
}

func serveConn(ctx context.Context, c net.Conn, requests chan<- request) {
	if !allowed(c) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	var r request
	if err := json.NewDecoder(c).Decode(&r.Request); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	r.reply, r.gone = make(chan Reply, 1), make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	defer c.Close()
	reader.Go(func() {
		defer close(r.gone)
		_, _ = c.Read(make([]byte, 1)) // nothing more is said: it returns when the other side hangs up
	})
	select {
	case requests <- r:
	case <-ctx.Done():
		return
	}
	select {
	case reply := <-r.reply:
		// Who asked may be gone; the program has started all the same.
		_ = json.NewEncoder(c).Encode(reply)
	case <-r.gone:
	case <-ctx.Done():
	}
}

// allowed lets in the node's agent, whose process this container cannot see,
// and root. Programs of the pod must not restart each other.
func allowed(c net.Conn) bool {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return err == nil && credErr == nil && (cred.Pid == 0 || cred.Uid == 0)
}

// ErrNone is a container whose first process is not berth's.
var ErrNone = errors.New("the container has no supervisor: its program cannot be restarted without a new container")

// Ask sends a request to the supervisor of the container whose first process
// has this pid on the node. It needs the rights of the node's root.
func Ask(ctx context.Context, pid int, r Request) (Reply, error) {
	address, err := addressOf(fmt.Sprint(pid))
	if err != nil {
		return Reply{}, err
	}
	conn, err := dialIn(ctx, pid, address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return Reply{}, ErrNone
	}
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	return ask(ctx, conn, r)
}

func ask(ctx context.Context, conn net.Conn, r Request) (Reply, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var reply Reply
	err := json.NewEncoder(conn).Encode(r)
	if err == nil {
		err = json.NewDecoder(conn).Decode(&reply)
	}
	switch {
	case ctx.Err() != nil:
		return reply, context.Cause(ctx)
	case err != nil:
		return reply, fmt.Errorf("the supervisor has ended: %w", err)
	case reply.Error != "":
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// dialIn connects to a Unix address in the network namespace of a process.
func dialIn(ctx context.Context, pid int, address string) (net.Conn, error) {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and no
		// other one finds itself in a foreign namespace.
		runtime.LockOSThread()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("enter the network of process %d: %w", pid, err)}
			return
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", address)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}
