package workshop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/problem"
)

// A Cluster is what a workshop asks of its cluster beside Kubernetes' API.
type Cluster interface {
	Running(ctx context.Context) error                        // a Problem where its API server cannot answer because it is stopped
	SaveCheckpoint(ctx context.Context, name string) error    // replaces one of that name
	RestoreCheckpoint(ctx context.Context, name string) error // returns when the cluster can be used
	DeleteCheckpoints(ctx context.Context, prefix string) error
}

// A Session is one learner's way through a started workshop.
type Session struct {
	Workshop Workshop
	Run      Run
	Learner  Learner

	store   Store
	kube    *kube.Client // of the administrator
	cluster Cluster
	env     []string
	now     func() time.Time
}

// Options are the parts that a Session works with.
type Options struct {
	Store   Store
	Kube    *kube.Client // of the administrator
	Cluster Cluster
	Env     []string // that programs inherit: KEY=value
	Now     func() time.Time
}

// NewSession goes on with a learner's workshop. learner may be "" where there
// is only one.
func NewSession(run Run, learner string, o Options) (*Session, error) {
	w, err := Read(run.Dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range run.Learners {
		if l.Name == learner || learner == "" && len(run.Learners) == 1 {
			return &Session{Workshop: w, Run: run, Learner: l, store: o.Store, kube: o.Kube, cluster: o.Cluster, env: o.Env, now: o.Now}, nil
		}
		names = append(names, l.Name)
	}
	return nil, problem.New(fmt.Sprintf("workshop %q has no learner %q", run.Name, learner), nil, "choose one with --learner: "+strings.Join(names, ", "))
}

// Progress is how far the learner has come. A workshop that lost steps since is
// at its last one.
func (s *Session) Progress() (Progress, error) {
	p, err := s.store.Progress(s.Run.Name, s.Learner.Name)
	p.Step = min(p.Step, len(s.Workshop.Steps)-1)
	return p, err
}

// Begin enters a step and sets it up. Its output goes to line.
func (s *Session) Begin(ctx context.Context, step int, line func(string)) error {
	return s.locked(ctx, func(p *Progress) error { return s.begin(ctx, p, step, line) })
}

func (s *Session) begin(ctx context.Context, p *Progress, step int, line func(string)) error {
	st := s.Workshop.Steps[step]
	if err := s.ensureNamespace(ctx); err != nil {
		return err
	}
	// A learner who comes from the step before once more has done something here.
	if st.Reset == ResetCheckpoint && !s.Learner.Confined && !p.Saved[step] {
		if err := s.cluster.SaveCheckpoint(ctx, s.checkpoint(step)); err != nil {
			return err
		}
		if p.Saved == nil {
			p.Saved = map[int]bool{}
		}
		p.Saved[step] = true
	}
	p.Reached = max(p.Reached, step)
	outcome, err := s.program(ctx, st, Setup, line)
	if err != nil {
		return err
	}
	if !outcome.OK {
		return s.failed(st, Setup, outcome)
	}
	p.Step, p.Entered, p.Last = step, s.now(), nil
	return nil
}

// ensureNamespace makes sure that the learner has the namespace, and access to
// it: a namespace that was made anew has another token.
func (s *Session) ensureNamespace(ctx context.Context) error {
	if err := EnsureNamespace(ctx, s.kube, s.Run.Name, s.Learner); err != nil || !s.Learner.Confined {
		return err
	}
	have, err := os.ReadFile(s.store.Kubeconfig(s.Run.Name, s.Learner.Name))
	if err != nil {
		return err
	}
	want, err := ConfinedKubeconfig(ctx, s.kube, have, s.Learner)
	if err != nil || bytes.Equal(have, want) {
		return err
	}
	return s.store.WriteKubeconfig(s.Run.Name, s.Learner.Name, want)
}

// checkpointPrefix is what the names of a workshop's checkpoints begin with; the
// number of the step follows.
func checkpointPrefix(run string) string { return run + "-step-" }

// checkpoint is the name of the checkpoint at the beginning of a step.
func (s *Session) checkpoint(step int) string {
	return fmt.Sprintf("%s%d", checkpointPrefix(s.Run.Name), step+1)
}

// failed is the error of a program that is the author's, not the learner's.
func (s *Session) failed(st Step, part Part, o Outcome) error {
	why := o.Why
	if o.Output != "" {
		why += "\n" + o.Output
	}
	return problem.New(fmt.Sprintf("%s of step %q", part, st.Dir), errors.New(why), "after its cause is gone: berth workshop reset")
}

// Check asks whether the learner is done with the current step, and remembers
// the answer.
func (s *Session) Check(ctx context.Context, line func(string)) (Outcome, error) {
	var outcome Outcome
	err := s.locked(ctx, func(p *Progress) (err error) {
		outcome, err = s.check(ctx, p, line)
		return err
	})
	return outcome, err
}

func (s *Session) check(ctx context.Context, p *Progress, line func(string)) (Outcome, error) {
	if err := s.cluster.Running(ctx); err != nil { // its programs would say so in the words of their tools
		return Outcome{}, err
	}
	outcome, err := s.program(ctx, s.Workshop.Steps[p.Step], Check, line)
	if err != nil {
		return outcome, err
	}
	if outcome.OK {
		if _, before := p.Done[p.Step]; !before {
			p.Done[p.Step] = s.now()
		}
	}
	p.Last = &Result{Step: p.Step, Verb: string(Check), At: s.now(), Outcome: outcome}
	return outcome, nil
}

// Next goes to the following step when the current one's check passes. moved is
// false when it does not, or when there is no further step.
func (s *Session) Next(ctx context.Context, line func(string)) (o Outcome, moved bool, err error) {
	err = s.locked(ctx, func(p *Progress) error {
		if o, err = s.check(ctx, p, line); err != nil || !o.OK || p.Step+1 >= len(s.Workshop.Steps) {
			return err
		}
		moved = true
		return s.begin(ctx, p, p.Step+1, line)
	})
	return o, moved, err
}

// Back goes to the step before; the cluster stays as it is.
func (s *Session) Back(ctx context.Context) error {
	return s.locked(ctx, func(p *Progress) error {
		if p.Step == 0 {
			return problem.New("this is the first step", nil, "")
		}
		p.Step, p.Entered, p.Last = p.Step-1, s.now(), nil
		return nil
	})
}

// Solve brings the cluster to the end of the current step and checks that it
// is there.
func (s *Session) Solve(ctx context.Context, line func(string)) (Outcome, error) {
	var outcome Outcome
	err := s.locked(ctx, func(p *Progress) (err error) {
		st := s.Workshop.Steps[p.Step]
		if err := s.cluster.Running(ctx); err != nil {
			return err
		}
		if err := s.ensureNamespace(ctx); err != nil {
			return err
		}
		if outcome, err = s.program(ctx, st, Solve, line); err != nil {
			return err
		}
		if !outcome.OK {
			return s.failed(st, Solve, outcome)
		}
		outcome, err = s.check(ctx, p, line)
		return err
	})
	return outcome, err
}

// Reset returns to the beginning of the current step.
func (s *Session) Reset(ctx context.Context, line func(string)) error {
	return s.locked(ctx, func(p *Progress) error {
		st := s.Workshop.Steps[p.Step]
		if err := s.undo(ctx, p, st, line); err != nil {
			return err
		}
		delete(p.Done, p.Step)
		outcome, err := s.program(ctx, st, Setup, line)
		if err != nil {
			return err
		}
		if !outcome.OK {
			return s.failed(st, Setup, outcome)
		}
		p.Entered, p.Last = s.now(), &Result{Step: p.Step, Verb: "reset", At: s.now(), Outcome: outcome}
		return nil
	})
}

// undo takes back what was done in the current step.
func (s *Session) undo(ctx context.Context, p *Progress, st Step, line func(string)) error {
	if st.Reset == ResetCheckpoint && !s.Learner.Confined {
		if err := s.cluster.RestoreCheckpoint(ctx, s.checkpoint(p.Step)); err != nil {
			return err
		}
		// What later steps began with is a state that is no more.
		maps.DeleteFunc(p.Saved, func(step int, _ bool) bool { return step > p.Step })
		return nil
	}
	path, err := s.Workshop.Program(st, Cleanup)
	if err != nil {
		return err
	}
	if st.Reset == ResetCheckpoint && path == "" && st.Scope != ScopeCluster {
		return problem.New(fmt.Sprintf("reset step %q", st.Title),
			errors.New("it returns by a checkpoint of the whole cluster, which others share, and has no program cleanup"),
			"take back by hand what you did, or ask the instructor")
	}
	if err := s.ensureNamespace(ctx); err != nil {
		return err
	}
	outcome, err := s.program(ctx, st, Cleanup, line)
	if err == nil && !outcome.OK {
		err = s.failed(st, Cleanup, outcome)
	}
	return err
}

// CleanUp takes back what steps of cluster scope did, the last one first.
// Everything else goes with the namespace.
func (s *Session) CleanUp(ctx context.Context, line func(string)) error {
	p, err := s.Progress()
	if err != nil {
		return err
	}
	for i := min(max(p.Step, p.Reached), len(s.Workshop.Steps)-1); i >= 0; i-- {
		st := s.Workshop.Steps[i]
		if st.Scope != ScopeCluster || s.Learner.Confined {
			continue
		}
		outcome, err := s.program(ctx, st, Cleanup, line)
		if err != nil {
			return err
		}
		if !outcome.OK {
			return s.failed(st, Cleanup, outcome)
		}
	}
	return nil
}

// locked runs one operation on the learner's progress and saves it, whether it
// went well or not.
func (s *Session) locked(ctx context.Context, op func(*Progress) error) (err error) {
	release, err := s.store.Lock(ctx, s.Run.Name, s.Learner.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	p, err := s.Progress()
	if err != nil {
		return err
	}
	err = op(&p)
	return errors.Join(err, s.store.SaveProgress(s.Run.Name, s.Learner.Name, p))
}

// program runs one program of a step. A step without it is done with it.
func (s *Session) program(ctx context.Context, st Step, part Part, line func(string)) (Outcome, error) {
	if st.Scope == ScopeCluster && s.Learner.Confined {
		return Outcome{OK: true, Output: "this step is the instructor's"}, nil
	}
	path, err := s.Workshop.Program(st, part)
	if err != nil {
		return Outcome{}, err
	}
	if path == "" {
		return Outcome{OK: true}, nil
	}
	timeout := st.Timeout.Duration()
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return script{
		path: path, dir: filepath.Join(s.Workshop.Dir, st.Dir), env: append(s.Env(), "STEP="+st.Dir), timeout: timeout, line: line,
	}.run(ctx)
}

// Env is the environment of the steps' programs and of the learner's shell.
func (s *Session) Env() []string {
	env := append([]string{}, s.env...)
	return append(env, s.ownEnv()...)
}

// ownEnv is what a workshop adds to the environment.
func (s *Session) ownEnv() []string {
	path := ""
	for _, e := range s.env {
		if rest, ok := strings.CutPrefix(e, "PATH="); ok {
			path = rest
		}
	}
	return []string{
		"KUBECONFIG=" + s.store.Kubeconfig(s.Run.Name, s.Learner.Name),
		"PATH=" + s.store.Tools(s.Run.Name) + string(os.PathListSeparator) + path,
		"NAMESPACE=" + s.Learner.Namespace,
		"LEARNER=" + s.Learner.Name,
		"DOMAIN=" + s.Learner.Domain,
		fmt.Sprintf("INGRESS_PORT=%d", s.Run.HTTPPort),
		"CLUSTER=" + s.Run.Cluster,
		"WORKSHOP=" + s.Workshop.Dir,
	}
}

// ShellLine is the command that gives a shell of this machine the learner's
// environment.
func (s *Session) ShellLine() string {
	line := "berth workshop env --workshop " + s.Run.Name
	if len(s.Run.Learners) > 1 {
		line += " --learner " + s.Learner.Name
	}
	return `eval "$(` + line + `)"`
}

// Exports are the lines that give a shell the learner's environment.
func (s *Session) Exports() string {
	var b strings.Builder
	for _, e := range s.ownEnv() {
		key, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", key, strings.ReplaceAll(value, "'", `'\''`))
	}
	return b.String()
}
