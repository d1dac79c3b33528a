package workshop

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/problem"
)

// maxOutput is how much of a program's output is kept: half of it from the
// beginning, half from the end. Bytes.
const maxOutput = 64 << 10

// An Outcome is what became of a program.
type Outcome struct {
	OK     bool          `json:"ok"`     // exit status 0
	Output string        `json:"output"` // stdout and stderr together, bounded
	Why    string        `json:"why,omitempty"`
	Took   time.Duration `json:"took"`

	TimedOut bool `json:"timedOut,omitempty"` // its time limit ended it
}

// A script is a program to run.
type script struct {
	path    string
	dir     string   // working directory
	env     []string // all of it
	timeout time.Duration
	line    func(string) // hears every line of output; may be nil
}

// run runs the program to its end, or until its time is up; then it and all
// that it started is killed. A program that fails is no error, one that cannot
// be started is.
func (s script) run(ctx context.Context) (Outcome, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, s.path)
	cmd.Dir, cmd.Env = s.dir, s.env
	out := &bounded{line: s.line}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // for those that left the group and keep the output open
	ownGroup(cmd)
	started := time.Now()
	err := cmd.Run()
	out.flush()
	o := Outcome{OK: err == nil, Output: out.String(), Took: time.Since(started)}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return o, nil
	case ctx.Err() != nil:
		return o, context.Cause(ctx)
	case limited.Err() != nil:
		o.TimedOut, o.Why = true, fmt.Sprintf("it was ended after %s, its time limit", s.timeout)
		return o, nil
	case errors.Is(err, exec.ErrWaitDelay): // it ended well and left something running
		o.OK = true
		return o, nil
	case errors.As(err, &exit):
		o.Why = exit.String()
		return o, nil
	}
	return o, problem.New(fmt.Sprintf("run %q", s.path), err, "make it executable (chmod +x) and give it a first line such as #!/bin/sh; `berth workshop lint` finds such faults")
}

// bounded keeps the beginning and the end of what is written to it.
type bounded struct {
	mu      sync.Mutex
	head    []byte
	tail    []byte
	dropped int
	line    func(string)
	partial []byte
}

// Write takes output as it comes.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(p), maxOutput/2-len(b.head))
	b.head = append(b.head, p[:n]...)
	b.tail = append(b.tail, p[n:]...)
	if over := len(b.tail) - maxOutput/2; over > 0 {
		b.tail = append(b.tail[:0], b.tail[over:]...)
		b.dropped += over
	}
	if b.line != nil {
		b.lines(p)
	}
	return len(p), nil
}

// lines passes on whole lines; a line without end is cut.
func (b *bounded) lines(p []byte) {
	const longest = 1000
	for _, c := range p {
		if c == '\n' || len(b.partial) >= longest {
			b.line(string(b.partial))
			b.partial = b.partial[:0]
		}
		if c != '\n' {
			b.partial = append(b.partial, c)
		}
	}
}

// flush passes on what stands behind the last line's end.
func (b *bounded) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line != nil && len(b.partial) > 0 {
		b.line(string(b.partial))
		b.partial = nil
	}
}

// String is the output, with a note where some of it was dropped.
func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := string(b.head)
	if b.dropped > 0 {
		text += fmt.Sprintf("\n... %d bytes left out ...\n", b.dropped)
	}
	text += string(b.tail)
	return strings.ToValidUTF8(strings.TrimRight(text, "\n"), "�")
}
