package workshop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/berth-dev/berth/infra/problem"
)

// A Store keeps what is remembered of started workshops, in files below a
// folder. Several processes may use it: files appear whole, and what takes long
// is done under the learner's lock.
type Store struct {
	dir string
}

// NewStore uses the folder dir, which is made when needed.
func NewStore(dir string) Store { return Store{dir} }

// A Run is a workshop that was started.
type Run struct {
	Name    string `json:"name"`
	Dir     string `json:"dir"` // the workshop's folder
	Cluster string `json:"cluster"`
	// ClusterID tells it from another of that name: the UID of its namespace kube-system.
	ClusterID string `json:"clusterID,omitempty"`

	HTTPPort int       `json:"httpPort"` // of 127.0.0.1, where the ingress answers
	Started  time.Time `json:"started"`
	Learners []Learner `json:"learners"`
	Messages []Message `json:"messages,omitempty"` // that the instructor sent, oldest first
	Token    string    `json:"token"`              // of the instructor's page
}

// A Learner is one of those who take part.
type Learner struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Domain    string `json:"domain"` // of its hosts: anything below it leads to its Ingresses
	Confined  bool   `json:"confined"`
	Token     string `json:"token"` // of its page
}

// A Message is what the instructor told all learners.
type Message struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// A Progress is how far a learner has come.
type Progress struct {
	Step    int               `json:"step"` // index of the current step
	Entered time.Time         `json:"entered"`
	Done    map[int]time.Time `json:"done"` // when each step's check passed
	Last    *Result           `json:"last,omitempty"`
	Reached int               `json:"reached"`         // index of the last step that was begun
	Saved   map[int]bool      `json:"saved,omitempty"` // steps whose checkpoint is of their beginning
}

// A Result is the answer of the last check, solve or reset of a step.
type Result struct {
	Step    int       `json:"step"`
	Verb    string    `json:"verb"` // check, setup, solve, reset
	At      time.Time `json:"at"`
	Outcome `json:"outcome"`
}

// Current is the name of the workshop that was started last, "" for none.
func (s Store) Current() (string, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(raw), err
}

// Load reads a started workshop; "" is the current one.
func (s Store) Load(name string) (Run, error) {
	if name == "" {
		var err error
		if name, err = s.Current(); err != nil {
			return Run{}, err
		}
	}
	if name == "" {
		return Run{}, problem.New("no workshop is started", nil, "berth workshop start DIR")
	}
	var r Run
	err := s.read(filepath.Join(name, "run.json"), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return r, problem.New(fmt.Sprintf("workshop %q is not started", name), nil, "berth workshop start DIR")
	}
	return r, err
}

// Save writes a started workshop and makes it the current one.
func (s Store) Save(r Run) error {
	if err := s.write(filepath.Join(r.Name, "run.json"), r); err != nil {
		return err
	}
	return s.replace("current", []byte(r.Name))
}

// Remove forgets a workshop and everybody's progress.
func (s Store) Remove(name string) error {
	current, err := s.Current()
	if err != nil {
		return err
	}
	if current == name {
		err = os.Remove(filepath.Join(s.dir, "current"))
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(s.dir, name)))
}

// Progress reads how far a learner has come; one who has not begun is at the
// first step.
func (s Store) Progress(run, learner string) (Progress, error) {
	p := Progress{Done: map[int]time.Time{}}
	err := s.read(filepath.Join(run, learner, "progress.json"), &p)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	return p, err
}

// SaveProgress writes how far a learner has come.
func (s Store) SaveProgress(run, learner string, p Progress) error {
	return s.write(filepath.Join(run, learner, "progress.json"), p)
}

// Kubeconfig is the file with a learner's access to the cluster.
func (s Store) Kubeconfig(run, learner string) string {
	return filepath.Join(s.dir, run, learner, "kubeconfig")
}

// Tools is the folder that stands first in the PATH of programs and learners.
func (s Store) Tools(run string) string { return filepath.Join(s.dir, run, "bin") }

// WriteKubeconfig stores a learner's access to the cluster.
func (s Store) WriteKubeconfig(run, learner string, text []byte) error {
	return s.replace(filepath.Join(run, learner, "kubeconfig"), text)
}

// Lock keeps other processes from working on a learner's steps. When one does,
// that is a Problem.
func (s Store) Lock(_ context.Context, run, learner string) (release func() error, err error) {
	path := filepath.Join(s.dir, run, learner, "lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := flock.New(path)
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, problem.New("work on this step", errors.New("a check, solve or reset of it goes on already"), "wait until it has ended")
	}
	return l.Unlock, nil
}

// lockAll is Lock for all learners of a workshop.
func (s Store) lockAll(ctx context.Context, run Run) (release func() error, err error) {
	var held []func() error
	release = func() error {
		var errs []error
		for _, r := range held {
			errs = append(errs, r())
		}
		held = nil
		return errors.Join(errs...)
	}
	for _, l := range run.Learners {
		r, err := s.Lock(ctx, run.Name, l.Name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", l.Name, err), release())
		}
		held = append(held, r)
	}
	return release, nil
}

func (s Store) read(name string, into any) error {
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(s.dir, name), err)
	}
	return nil
}

func (s Store) write(name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return s.replace(name, append(raw, '\n'))
}

// replace writes a file so that it is always whole.
func (s Store) replace(name string, data []byte) error {
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data) // CreateTemp's mode is 0600: tokens and keys are nobody else's
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// maxMessage is how long a message to all learners may be, in bytes.
const maxMessage = 500

// Broadcast adds a message for all learners of a workshop.
func (s Store) Broadcast(name, text string, at time.Time) (err error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxMessage {
		return problem.New("tell all learners", fmt.Errorf("%d bytes of text", len(text)), fmt.Sprintf("write 1 to %d", maxMessage))
	}
	run, err := s.Load(name)
	if err != nil {
		return err
	}
	l := flock.New(filepath.Join(s.dir, run.Name, "run.lock"))
	if err := l.Lock(); err != nil {
		return fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	if run, err = s.Load(name); err != nil { // with what another has said meanwhile
		return err
	}
	run.Messages = append(run.Messages, Message{At: at, Text: text})
	return s.write(filepath.Join(run.Name, "run.json"), run)
}
