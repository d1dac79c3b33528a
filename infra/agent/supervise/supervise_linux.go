package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to run and how to end it.
type Options struct {
	Command    []string
	StopSignal syscall.Signal // asks the program to end; default SIGTERM
	Grace      time.Duration  // after which it is killed when it is to start again; default 10 s
	Restart    string         // compose's restart: always, unless-stopped, on-failure; else a program that ends waits for a request
	Once       bool           // end with the program, whatever Restart says: a plain init
	Limits     []Limit        // of the program; what the node does not allow is said in the log
	Hold       time.Duration  // how long to wait for a first request before the program starts; 0: not at all
	Stdin      *os.File       // the program's own
	Stdout     *os.File
	Stderr     *os.File
	Log        io.Writer // one line for every end of the program
	Control    *Control  // where requests come from; nil: none do
	Signals    <-chan os.Signal
	MinBackoff time.Duration // before a program that failed starts again; default 100 ms, doubled up to 100 times that
}

func (o Options) withDefaults() Options {
	if o.StopSignal == 0 {
		o.StopSignal = syscall.SIGTERM
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = 100 * time.Millisecond
	}
	return o
}

// Run runs the program until it has ended after a signal that ends containers
// (StopSignal or SIGTERM), and returns its exit status. It must be the only one in its process
// that waits for children. When ctx ends it kills the program.
func Run(ctx context.Context, opts Options) (int, error) {
	if len(opts.Command) == 0 {
		return 0, errors.New("no command to run")
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	// Not as PID 1, orphans of the program come here all the same.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	s := &supervisor{opts: opts.withDefaults(), dir: dir, requests: make(chan request), children: make(chan os.Signal, 1)}
	s.backoff = s.opts.MinBackoff
	for _, limit := range opts.Limits {
		if err := limit.Set(); err != nil {
			s.say("%s", err)
		}
	}
	signal.Notify(s.children, syscall.SIGCHLD)
	defer signal.Stop(s.children)
	serving, stopServing := context.WithCancel(ctx)
	var server sync.WaitGroup
	if s.opts.Control != nil {
		server.Go(func() { s.opts.Control.serve(serving, s.requests) })
	}
	defer server.Wait()
	defer stopServing()
	return s.loop(ctx), nil
}

// supervisor is the state of the program. Only loop and what it calls touch it.
type supervisor struct {
	opts     Options
	dir      string // by name: the directory itself may be replaced by a sync
	requests chan request
	children chan os.Signal // SIGCHLD

	pid      int // 0: not running
	started  time.Time
	starts   int
	status   int          // of the last end
	failure  string       // why the last start failed
	ending   bool         // the container is to end with the program
	waiting  []chan Reply // for the start that follows the end of the program
	killAt   <-chan time.Time
	startAt  <-chan time.Time
	backoff  time.Duration
	finished bool

	replacing bool         // the program is to end so that it can start again
	ports     map[int]bool // on which it listened before it was started again
	listens   bool         // it listens on all of them again
	checkAt   <-chan time.Time
	checkEnd  time.Time
	watchers  []request // OpAwait requests without an answer
}

// How a restart waits for the program to listen again.
const (
	checkEvery = 2 * time.Millisecond
	checkFor   = 10 * time.Second
)

func (s *supervisor) loop(ctx context.Context) int {
	if s.opts.Hold > 0 {
		s.startAt = time.After(s.opts.Hold)
	} else {
		s.start()
	}
	for !s.finished {
		select {
		case <-ctx.Done():
			s.kill(syscall.SIGKILL)
			s.endRest()
			return s.status
		case sig := <-s.opts.Signals:
			s.pass(sig.(syscall.Signal))
		case <-s.children:
			s.reap()
		case r := <-s.requests:
			s.answer(r)
		case <-s.killAt:
			s.killAt = nil
			s.kill(syscall.SIGKILL)
		case <-s.startAt:
			s.startAt = nil
			s.start()
		case <-s.checkAt:
			s.check()
		}
		s.tellWatchers()
	}
	return s.status
}

// pass gives a signal to the program. The one that ends containers also ends
// this process once the program is gone.
func (s *supervisor) pass(sig syscall.Signal) {
	switch sig {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU:
		return // our own: children, the Go runtime, our output and terminal
	case s.opts.StopSignal, syscall.SIGTERM:
		s.ending = true
		if s.pid == 0 {
			s.finished = true
			return
		}
	}
	s.kill(sig)
}

func (s *supervisor) kill(sig syscall.Signal) {
	if s.pid != 0 {
		// The program may have ended already, which reap finds out.
		_ = syscall.Kill(s.pid, sig)
	}
}

func (s *supervisor) answer(r request) {
	switch r.Op {
	case OpRestart:
		s.startAt = nil
		s.backoff = s.opts.MinBackoff
		s.waiting = append(s.waiting, r.reply)
		switch {
		case s.pid == 0:
			s.startAwaited()
		case !s.replacing:
			s.replacing = true
			s.rememberPorts()
			s.kill(s.opts.StopSignal)
			s.killAt = time.After(s.opts.Grace)
		}
	case OpStart:
		if s.pid == 0 {
			s.startAt = nil
			s.start()
		}
		r.reply <- s.reply()
	case OpStatus:
		r.reply <- s.reply()
	case OpAwait:
		s.watchers = append(slices.DeleteFunc(s.watchers, func(w request) bool { return w.isGone() }), r)
	default:
		r.reply <- Reply{Error: fmt.Sprintf("unknown request %q", r.Op)}
	}
}

func (s *supervisor) reply() Reply {
	return Reply{Running: s.pid != 0, Pid: s.pid, Starts: s.starts, Status: s.status, Failure: s.failure}
}

// rememberPorts notes where the program listens, for check. A program that
// was started a moment ago has not come that far, and what was known stands.
func (s *supervisor) rememberPorts() {
	if s.ports == nil || s.listens {
		s.ports = Listening("self")
	}
}

// startAwaited starts the program for those who wait for that.
func (s *supervisor) startAwaited() {
	s.replacing, s.listens = false, false
	s.start()
	s.checkEnd = time.Now().Add(checkFor)
	s.check()
}

// check answers those who wait for a start when the program listens where it
// listened before, cannot any more, or takes too long.
func (s *supervisor) check() {
	s.checkAt = nil
	if s.replacing || len(s.waiting) == 0 {
		return
	}
	s.listens = s.pid != 0 && s.listensAgain()
	if s.pid != 0 && !s.listens && time.Now().Before(s.checkEnd) {
		s.checkAt = time.After(checkEvery)
		return
	}
	for _, w := range s.waiting {
		w <- s.reply()
	}
	s.waiting = nil
}

func (s *supervisor) listensAgain() bool {
	if len(s.ports) == 0 {
		return true
	}
	now := Listening("self")
	for port := range s.ports {
		if !now[port] {
			return false
		}
	}
	return true
}

// tellWatchers answers the OpAwait requests for which something has changed.
func (s *supervisor) tellWatchers() {
	s.watchers = slices.DeleteFunc(s.watchers, func(w request) bool {
		if w.Starts == s.starts && w.Running == (s.pid != 0) {
			return false
		}
		w.reply <- s.reply()
		return true
	})
}

// start starts the program. When that fails it says so and waits like after a crash.
func (s *supervisor) start() {
	s.starts++
	s.started = time.Now()
	pid, err := spawn(s.opts, s.dir)
	if err != nil {
		s.failure, s.status = err.Error(), 127
		s.say("cannot start: %s", err)
		if s.opts.Once {
			s.finished = true
			return
		}
		s.again()
		return
	}
	s.pid, s.failure = pid, ""
}

// reap collects every child that has ended, of which one may be the program.
func (s *supervisor) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || pid == 0:
			return
		case pid == s.pid:
			s.ended(status)
		}
	}
}

// ended decides what follows the end of the program: the end of this process, the
// start somebody waits for, another try, or nothing until a request comes.
func (s *supervisor) ended(status syscall.WaitStatus) {
	s.pid, s.killAt = 0, nil
	s.status = exitStatus(status)
	s.endRest()
	switch {
	case s.ending, s.opts.Once:
		s.finished = true
	case s.replacing:
		s.startAwaited()
	default:
		s.say("the program ended (%s) after %s", describe(status), time.Since(s.started).Round(time.Millisecond))
		s.again()
		s.check()
	}
}

// again sets the time of the next try, if the restart policy wants one.
func (s *supervisor) again() {
	switch s.opts.Restart {
	case "always", "unless-stopped":
	case "on-failure":
		if s.status == 0 {
			return
		}
	default:
		s.say("waiting for a change")
		return
	}
	if time.Since(s.started) > 100*s.opts.MinBackoff { // it worked for a while
		s.backoff = s.opts.MinBackoff
	}
	s.say("starting it again in %s", s.backoff)
	s.startAt = time.After(s.backoff)
	s.backoff = min(2*s.backoff, 100*s.opts.MinBackoff)
}

// say writes to the container's log, where it is read among the program's own lines.
func (s *supervisor) say(format string, args ...any) {
	// Nobody may read the log; the program matters more.
	_, _ = fmt.Fprintf(s.opts.Log, "berth: "+format+"\n", args...)
}

func exitStatus(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "signal: " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}
