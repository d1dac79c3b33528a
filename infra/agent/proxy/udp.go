package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxDatagram = 65535
	udpQueue    = 64 // datagrams of one client that wait while its session finds a node
)

// udpRoute is one UDP socket and the sessions of its clients.
type udpRoute struct {
	proxy    *Proxy
	socket   *net.UDPConn
	nodePort atomic.Int32

	mu       sync.Mutex
	sessions map[netip.AddrPort]*udpSession
}

func (p *Proxy) openUDP(r Route) (route, error) {
	addr, err := net.ResolveUDPAddr("udp", r.Listen)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	u := &udpRoute{proxy: p, socket: socket, sessions: map[netip.AddrPort]*udpSession{}}
	u.nodePort.Store(int32(r.NodePort))
	p.work.Go(u.receive)
	return u, nil
}

func (u *udpRoute) address() string { return u.socket.LocalAddr().String() }

// Close ends the socket and its sessions, which are nothing without it.
func (u *udpRoute) Close() error {
	u.endSessions()
	return u.socket.Close()
}

// retarget ends the sessions when the target changes: the next datagram of a
// client starts one with the new target.
func (u *udpRoute) retarget(nodePort int) {
	if u.nodePort.Swap(int32(nodePort)) != int32(nodePort) {
		u.endSessions()
	}
}

func (u *udpRoute) endSessions() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for client, s := range u.sessions {
		s.cancel()
		delete(u.sessions, client)
	}
}

// receive hands each datagram to the session of its sender. It never waits: a
// full queue loses the datagram, as a full socket would.
func (u *udpRoute) receive() {
	buf := make([]byte, maxDatagram)
	for {
		n, client, err := u.socket.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error of an earlier reply, or the kernel lacks memory
			select {
			case <-u.proxy.ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		select {
		case u.session(client).queue <- append([]byte(nil), buf[:n]...):
		default:
		}
	}
}

// session returns the client's session, a new one if it has none. When there
// are too many, the one that has been silent longest ends.
func (u *udpRoute) session(client netip.AddrPort) *udpSession {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s, ok := u.sessions[client]; ok {
		return s
	}
	if len(u.sessions) >= u.proxy.opts.UDPSessions {
		u.endOldest()
	}
	ctx, cancel := context.WithCancel(u.proxy.ctx)
	s := &udpSession{route: u, client: client, queue: make(chan []byte, udpQueue), cancel: cancel}
	s.touch()
	u.sessions[client] = s
	u.proxy.work.Go(func() { s.run(ctx) })
	return s
}

func (u *udpRoute) endOldest() {
	var oldest *udpSession
	for _, s := range u.sessions {
		if oldest == nil || s.active.Load() < oldest.active.Load() {
			oldest = s
		}
	}
	oldest.cancel()
	delete(u.sessions, oldest.client)
}

func (u *udpRoute) remove(s *udpSession) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessions[s.client] == s {
		delete(u.sessions, s.client)
	}
}

// sessionCount is how many clients have a session.
func (u *udpRoute) sessionCount() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sessions)
}

// udpSession carries the datagrams of one client over a socket of its own, so
// that replies find their way back. Only its run goroutine touches the fields
// without a comment.
type udpSession struct {
	route  *udpRoute
	client netip.AddrPort
	queue  chan []byte
	cancel context.CancelFunc
	active atomic.Int64 // when a datagram last went either way, Unix nanoseconds
	reply  atomic.Int64 // when one last came back

	conn   *net.UDPConn
	node   *node
	last   []byte        // what was sent last
	sentAt time.Time     // when the client sent it
	pause  time.Duration // before it is sent again
}

// brokenConn is a connection that returned an error.
type brokenConn struct {
	conn *net.UDPConn
	err  error
}

func (s *udpSession) touch() { s.active.Store(time.Now().UnixNano()) }

// run sends what the client sends until both sides have been silent for the
// idle time. A datagram that the node refuses (an ICMP error comes back, so
// nothing was delivered) is sent again, to the next node, for Patience.
func (s *udpSession) run(ctx context.Context) {
	opts := s.route.proxy.opts
	defer s.cancel()
	defer s.route.remove(s)
	defer s.drop()
	failed := make(chan brokenConn, 1)
	idle := time.NewTimer(opts.UDPIdle)
	defer idle.Stop()
	var again <-chan time.Time
	for {
		refused := false
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			silent := time.Since(time.Unix(0, s.active.Load()))
			if silent >= opts.UDPIdle {
				return
			}
			idle.Reset(opts.UDPIdle - silent)
		case d := <-s.queue:
			s.touch()
			s.last, s.sentAt, s.pause = d, time.Now(), opts.RetryEvery
			refused = !s.send(ctx, failed)
		case broken := <-failed:
			if broken.conn == s.conn {
				s.unreachable(broken.err)
				refused = s.reply.Load() < s.sentAt.UnixNano()
			}
		case <-again:
			refused = !s.send(ctx, failed)
			again = nil
		}
		if refused && time.Since(s.sentAt) < opts.Patience {
			again = time.After(s.pause)
			s.pause = opts.longer(s.pause)
		}
	}
}

// send sends the last datagram, after connecting if there is no connection. It
// reports false when nothing can have left.
func (s *udpSession) send(ctx context.Context, failed chan<- brokenConn) bool {
	if s.conn == nil && !s.connect(ctx, failed) {
		return false
	}
	if _, err := s.conn.Write(s.last); err != nil {
		s.unreachable(err)
		return false
	}
	return true
}

func (s *udpSession) connect(ctx context.Context, failed chan<- brokenConn) bool {
	all := s.route.proxy.nodes
	for _, x := range all.order() {
		addr, err := all.address(ctx, x, int(s.route.nodePort.Load()))
		if err == nil {
			var c net.Conn
			if c, err = new(net.Dialer).DialContext(ctx, "udp", addr); err == nil {
				s.conn, s.node = c.(*net.UDPConn), x
				conn := s.conn
				s.route.proxy.work.Go(func() { s.replies(ctx, conn, failed) })
				return true
			}
		}
		all.failed(x, err)
	}
	return false
}

// replies passes back what the node answers until conn fails or is closed.
func (s *udpSession) replies(ctx context.Context, conn *net.UDPConn, failed chan<- brokenConn) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case failed <- brokenConn{conn, err}:
			case <-ctx.Done():
			}
			return
		}
		s.touch()
		s.reply.Store(time.Now().UnixNano())
		// A reply that cannot be delivered is lost, as on any network.
		_, _ = s.route.socket.WriteToUDPAddrPort(buf[:n], s.client)
	}
}

func (s *udpSession) unreachable(err error) {
	s.route.proxy.nodes.failed(s.node, err)
	s.drop()
}

func (s *udpSession) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn, s.node = nil, nil
	}
}
