package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
)

// A shell is one `docker exec` of sh in a container that carries out one
// command after the other: starting an exec costs more than most commands do.
// It starts when it is first used, and again after it broke or ended with its
// container.
type shell struct {
	container string
	open      func(ctx context.Context, command []string) (stream, error) // starts a command in the container

	turn gate // held by the one command that is carried out
	live *liveShell
}

func newShell(engine *docker.Client, container string) shell {
	open := func(ctx context.Context, command []string) (stream, error) {
		return engine.Pipe(ctx, container, command) // it outlives the command that started it
	}
	return shell{container: container, open: open, turn: newGate()}
}

// A stream is the output and input of a program.
type stream interface {
	io.ReadWriteCloser
	Ended() bool // the program has
}

type liveShell struct {
	pipe stream
	out  *bufio.Reader
	mark string // begins the line that ends a command's output
}

// maxOutput bounds the output of one command, in bytes.
const maxOutput = 32 << 20

// A commandError is a command that ended with another status than 0.
type commandError struct {
	status string
	output string
}

// Error leaves out what ctr logs besides its error.
func (e *commandError) Error() string {
	text := "exit status " + e.status
	for line := range strings.Lines(strings.TrimSpace(e.output)) {
		if !strings.Contains(line, "level=warning") && !strings.Contains(line, "level=info") {
			text += "\n" + strings.TrimRight(line, "\n")
		}
	}
	return text
}

// run carries out a command line and returns its output, standard error
// included.
func (s *shell) run(ctx context.Context, command string) (string, error) {
	return s.do(ctx, runLine(command), nil)
}

// feed carries out a command line with in as its standard input, after prepare,
// which may set variables for it. The command starts at once: what in has to
// give may come later.
func (s *shell) feed(ctx context.Context, prepare, command string, in io.Reader) (string, error) {
	return s.do(ctx, feedLine(prepare, command), in)
}

func runLine(command string) string { return "{ " + command + "; } </dev/null" }

// feedLine passes input on in pieces, each after its size, up to one of size 0.
// A command may leave input unread when it fails: the rest must not be taken for
// commands, which is why cat takes it.
func feedLine(prepare, command string) string {
	return prepare + `while read -r n && [ "$n" -gt 0 ]; do head -c "$n"; done | { ` + command + `; s=$?; cat >/dev/null; (exit $s); }`
}

func (s *shell) do(ctx context.Context, line string, in io.Reader) (string, error) {
	if err := s.turn.enter(ctx); err != nil {
		return "", err
	}
	defer s.turn.leave()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if s.live != nil && s.live.pipe.Ended() {
		s.live.stop()
		s.live = nil
	}
	if s.live == nil {
		live, err := s.start(ctx)
		if err != nil {
			return "", err
		}
		s.live = live
	}
	out, err := s.live.do(ctx, line, in)
	var failed *commandError
	if err != nil && !errors.As(err, &failed) {
		s.live.stop() // its streams are in an unknown state
		s.live = nil
	}
	return out, err
}

// close ends the shell.
func (s *shell) close() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.live != nil {
		s.live.stop()
		s.live = nil
	}
}

func (s *shell) start(ctx context.Context) (*liveShell, error) {
	var token [8]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, err
	}
	mark := "berth-" + hex.EncodeToString(token[:])
	p, err := s.open(ctx, []string{"sh", "-c", loop(mark)})
	if err != nil {
		return nil, fmt.Errorf("start a shell in %q: %w", s.container, err)
	}
	return newLiveShell(p, mark), nil
}

// loop is the program of a shell: it carries out every line that it reads, and
// ends the output with a line of mark and the status.
func loop(mark string) string {
	return `while IFS= read -r line; do eval "$line"; printf '\n%s %s\n' ` + mark + ` "$?"; done 2>&1`
}

func newLiveShell(pipe stream, mark string) *liveShell {
	return &liveShell{pipe: pipe, out: bufio.NewReaderSize(pipe, 64<<10), mark: mark}
}

func (l *liveShell) stop() { _ = l.pipe.Close() }

func (l *liveShell) do(ctx context.Context, line string, in io.Reader) (string, error) {
	// A cancelled command takes its shell with it.
	over := context.AfterFunc(ctx, l.stop)
	defer func() {
		if !over() {
			l.stop() // it may not have come to that yet, and the next command must see it
		}
	}()
	sent := make(chan error, 1)
	go func() { sent <- l.send(line, in) }()
	out, status, err := l.receive()
	if err != nil {
		l.stop() // so that sending ends too
	}
	sendErr := <-sent
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err := errors.Join(sendErr, err); err != nil {
		return "", err
	}
	if status != "0" {
		return out, &commandError{status, out}
	}
	return out, nil
}

// pieceSize is how much input goes to a command at a time, in bytes: a program
// is started on the node for each.
const pieceSize = 8 << 20

func (l *liveShell) send(line string, in io.Reader) error {
	if _, err := io.WriteString(l.pipe, line+"\n"); err != nil || in == nil {
		return err
	}
	var piece bytes.Buffer
	piece.Grow(pieceSize + bytes.MinRead)
	for {
		piece.Reset()
		n, err := piece.ReadFrom(io.LimitReader(in, pieceSize)) // no error is the end, though it wraps io.EOF
		if err != nil {
			l.stop() // the command waits for bytes that do not come
			return err
		}
		if _, err := fmt.Fprintln(l.pipe, n); err != nil || n == 0 {
			return err
		}
		if _, err := l.pipe.Write(piece.Bytes()); err != nil {
			return err
		}
	}
}

// receive reads a command's output to its end mark.
func (l *liveShell) receive() (out, status string, err error) {
	var text strings.Builder
	for {
		line, err := l.out.ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = errors.New("the shell ended")
		}
		if err != nil {
			return "", "", err
		}
		if rest, ok := strings.CutPrefix(line, l.mark+" "); ok {
			return strings.TrimSuffix(text.String(), "\n"), strings.TrimSpace(rest), nil
		}
		if text.WriteString(line); text.Len() > maxOutput {
			return "", "", fmt.Errorf("a command's output is longer than %d MB", maxOutput>>20)
		}
	}
}

// quote makes a word of the shell's language of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
