package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Streams is the process as the commands see it: its standard streams, its
// environment and its working directory.
type Streams struct {
	In  io.Reader
	Out io.Writer // what was asked for: manifests, JSON, names
	Err io.Writer // everything else
	Env []string  // KEY=value
	Dir string    // working directory
}

// OSStreams returns the streams of this process.
func OSStreams() Streams {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Dir: dir}
}

// Getenv returns the last value of key in the environment, or "".
func (s Streams) Getenv(key string) string {
	prefix := key + "="
	for i := len(s.Env) - 1; i >= 0; i-- {
		if len(s.Env[i]) >= len(prefix) && s.Env[i][:len(prefix)] == prefix {
			return s.Env[i][len(prefix):]
		}
	}
	return ""
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
