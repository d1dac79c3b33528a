package image

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	bkclient "github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"github.com/berth-dev/berth/infra/progress"
)

// tailLines is how many lines of a failed step's output an error repeats.
const tailLines = 40

// steps follows a build: it shows the step that runs now, passes on every line
// of output, and remembers enough to explain a failure.
type steps struct {
	task    *progress.Task
	names   map[digest.Digest]string
	running []digest.Digest // oldest first
	ended   map[digest.Digest]bool
	partial map[digest.Digest][]byte   // a line whose end has not come yet
	output  map[digest.Digest][]string // the last lines of each step
	failed  digest.Digest
	warned  map[string]bool
}

func newSteps(task *progress.Task) *steps {
	return &steps{
		task: task, names: map[digest.Digest]string{}, ended: map[digest.Digest]bool{}, warned: map[string]bool{},
		partial: map[digest.Digest][]byte{}, output: map[digest.Digest][]string{},
	}
}

// follow takes BuildKit's messages until their end. Once a second it says what
// runs, so that nobody has to guess.
func (s *steps) follow(messages <-chan *bkclient.SolveStatus) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return
			}
			s.take(m)
		case <-tick.C:
			if n := len(s.running); n > 0 {
				s.task.Update(s.names[s.running[n-1]])
			}
		}
	}
}

func (s *steps) take(m *bkclient.SolveStatus) {
	for _, v := range m.Vertexes {
		s.takeVertex(v)
	}
	for _, status := range m.Statuses {
		if status.Total > 0 {
			s.task.Progress(status.Current, status.Total)
		} else if status.Current > 1<<20 {
			s.task.Update(fmt.Sprintf("%s, %s", s.names[status.Vertex], megabytes(status.Current)))
		}
	}
	for _, l := range m.Logs {
		s.takeLog(l.Vertex, l.Data)
	}
	for _, w := range m.Warnings {
		if text := string(w.Short); text != "" && !s.warned[text] {
			s.warned[text] = true
			s.task.Log("warning: " + text)
		}
	}
}

func (s *steps) takeVertex(v *bkclient.Vertex) {
	s.names[v.Digest] = v.Name
	internal := strings.HasPrefix(v.Name, "[internal]")
	switch {
	case v.Started != nil && v.Completed == nil:
		if s.remove(v.Digest); !s.ended[v.Digest] {
			s.running = append(s.running, v.Digest)
			s.task.Update(v.Name)
		}
	case v.Completed != nil && !s.ended[v.Digest]:
		s.remove(v.Digest)
		s.ended[v.Digest] = true
		s.flush(v.Digest)
		switch {
		case v.Error != "":
			if s.failed == "" && !strings.Contains(v.Error, "context canceled") {
				s.failed = v.Digest
			}
			s.task.Log(v.Name + ": " + v.Error)
		case internal:
		case v.Cached:
			s.task.Log(v.Name + ": cached")
		case v.Started != nil:
			s.task.Log(fmt.Sprintf("%s: %.1fs", v.Name, v.Completed.Sub(*v.Started).Seconds()))
		}
		if n := len(s.running); n > 0 {
			s.task.Update(s.names[s.running[n-1]])
		}
	}
}

func (s *steps) remove(d digest.Digest) {
	for i, r := range s.running {
		if r == d {
			s.running = append(s.running[:i], s.running[i+1:]...)
			return
		}
	}
}

func (s *steps) takeLog(d digest.Digest, data []byte) {
	data = append(s.partial[d], data...)
	for {
		line, rest, found := bytes.Cut(data, []byte("\n"))
		if !found {
			break
		}
		s.line(d, line)
		data = rest
	}
	s.partial[d] = bytes.Clone(data)
}

func (s *steps) flush(d digest.Digest) {
	if len(s.partial[d]) > 0 {
		s.line(d, s.partial[d])
		delete(s.partial, d)
	}
}

func (s *steps) line(d digest.Digest, line []byte) {
	// A progress bar's last state is what is left of its line.
	line = bytes.TrimRight(line, "\r")
	if at := bytes.LastIndexByte(line, '\r'); at >= 0 {
		line = line[at+1:]
	}
	text := string(line)
	s.output[d] = append(s.output[d], text)
	if extra := len(s.output[d]) - tailLines; extra > 0 {
		s.output[d] = s.output[d][extra:]
	}
	s.task.Log(text)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
