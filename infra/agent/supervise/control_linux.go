package supervise

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	Key     string `json:"key,omitempty"`     // Ask sets it
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

// Control is where requests come from.
type Control struct {
	listener net.Listener
	key      string   // what they must carry
	file     *os.File // that holds the key for the node's agent
}

// Listen opens the socket of this container's supervisor: in no file system,
// because the container's may be read-only, and named after the mount
// namespace, because the containers of a pod share their network's.
func Listen() (*Control, error) {
	address, err := addressOf("self")
	if err != nil {
		return nil, err
	}
	key, file, err := newKey()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Control{listener: l, key: key, file: file}, nil
}

// Close ends the socket.
func (c *Control) Close() error { return errors.Join(c.listener.Close(), c.file.Close()) }

func addressOf(process string) (string, error) {
	namespace, err := os.Readlink("/proc/" + process + "/ns/mnt")
	if err != nil {
		return "", err
	}
	return "@berth/init/" + namespace, nil
}

// serve passes the requests that arrive on until ctx ends.
func (c *Control) serve(ctx context.Context, requests chan<- request) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors, for example: others must end first
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		open.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			c.serveConn(ctx, conn, requests)
		})
	}
}

// maxRequest bounds a request, in bytes.
const maxRequest = 4096

func (c *Control) serveConn(ctx context.Context, conn net.Conn, requests chan<- request) {
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var r request
	if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&r.Request); err != nil {
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.Key), []byte(c.key)) == 0 { // another container of the pod
		_ = json.NewEncoder(conn).Encode(Reply{Error: "only the node's agent may ask"})
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	r.reply, r.gone = make(chan Reply, 1), make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close()
	reader.Go(func() {
		defer close(r.gone)
		_, _ = conn.Read(make([]byte, 1)) // nothing more is said: it returns when the other side hangs up
	})
	select {
	case requests <- r:
	case <-ctx.Done():
		return
	}
	select {
	case reply := <-r.reply:
		// Who asked may be gone; the program has started all the same.
		_ = json.NewEncoder(conn).Encode(reply)
	case <-r.gone:
	case <-ctx.Done():
	}
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
	if r.Key, err = keyOf(pid); err != nil {
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
