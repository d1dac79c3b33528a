package cli

import (
	"bytes"
	"io"
)

// A streamSplitter takes a container's log as the container runtime writes it,
// one line for each line or part of a line (time, stream, P or F, text), and
// writes what the container wrote to its two streams.
type streamSplitter struct {
	out, err io.Writer
	part     []byte // of a line
}

// Write takes the next bytes of the log.
func (s *streamSplitter) Write(p []byte) (int, error) {
	s.part = append(s.part, p...)
	for {
		end := bytes.IndexByte(s.part, '\n')
		if end < 0 {
			return len(p), nil
		}
		if err := s.line(s.part[:end]); err != nil {
			return 0, err
		}
		s.part = s.part[end+1:]
	}
}

func (s *streamSplitter) line(line []byte) error {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) < 4 {
		return nil // no line of the runtime's
	}
	to := s.out
	if string(fields[1]) == "stderr" {
		to = s.err
	}
	text := bytes.Clone(fields[3])
	if string(fields[2]) == "F" {
		text = append(text, '\n')
	}
	_, err := to.Write(text)
	return err
}
