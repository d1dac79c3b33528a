package workshop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/berth-dev/berth/infra/problem"
)

// NewRun is a workshop for so many learners, none of whom has begun. Without a
// number there is one, who has the whole cluster; others are confined to a
// namespace. token makes the secrets of the pages.
func NewRun(w Workshop, learners int, token func() string) Run {
	run := Run{Name: w.Name, Dir: w.Dir, Token: token()}
	if learners == 0 {
		run.Learners = []Learner{{Name: "me", Namespace: w.Name, Domain: w.Name + ".localhost", Token: token()}}
		return run
	}
	for i := range learners {
		name := fmt.Sprintf("learner-%d", i+1)
		run.Learners = append(run.Learners, Learner{
			Name: name, Namespace: w.Name + "-" + name, Domain: name + "." + w.Name + ".localhost", Confined: true, Token: token(),
		})
	}
	return run
}

// Admit gives a learner a namespace and access to it. admin is the
// administrator's kubeconfig.
func Admit(ctx context.Context, run Run, l Learner, admin []byte, o Options) error {
	if err := EnsureNamespace(ctx, o.Kube, run.Name, l); err != nil {
		return err
	}
	access, err := OpenKubeconfig(admin, l)
	if l.Confined {
		access, err = ConfinedKubeconfig(ctx, o.Kube, admin, l)
	}
	if err != nil {
		return err
	}
	return o.Store.WriteKubeconfig(run.Name, l.Name, access)
}

// Enter begins a workshop at a step, after solving those before it; -1 is the
// first one, for a learner who has not begun. One who has begun goes on from
// where he or she is.
func (s *Session) Enter(ctx context.Context, step int, line func(string)) error {
	p, err := s.Progress()
	if err != nil {
		return err
	}
	at := p.Step
	if p.Entered.IsZero() {
		if at = 0; step < 0 {
			step = 0
		}
		if err := s.Begin(ctx, at, line); err != nil {
			return err
		}
	}
	if step >= 0 && at > step {
		return problem.New(fmt.Sprintf("begin %s at step %d", s.Learner.Name, step+1), fmt.Errorf("step %d is reached already", at+1),
			"leave out --step to go on; berth workshop back leads back; berth workshop stop ends it all")
	}
	for ; at < step; at++ {
		o, err := s.Solve(ctx, line)
		if err != nil {
			return err
		}
		if !o.OK {
			return s.failed(s.Workshop.Steps[at], Solve, o)
		}
		if err := s.Begin(ctx, at+1, line); err != nil {
			return err
		}
	}
	return nil
}

// Stop takes back what the steps did, removes all learners' namespaces and
// checkpoints, and forgets the workshop. Run again it goes on. A workshop whose
// folder is gone is stopped, too; what its steps of cluster scope did stays.
func Stop(ctx context.Context, run Run, o Options, line func(string)) (err error) {
	release, err := o.Store.lockAll(ctx, run)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	confined := false
	for _, l := range run.Learners {
		confined = confined || l.Confined
		s, err := NewSession(run, l.Name, o)
		if errors.Is(err, fs.ErrNotExist) {
			line(fmt.Sprintf("the workshop's folder %s is gone: what its steps did outside of namespace %s stays", run.Dir, l.Namespace))
		} else if err != nil {
			return err
		} else if err := s.CleanUp(ctx, line); err != nil {
			return err
		}
		line("deleting namespace " + l.Namespace)
		if err := DeleteNamespace(ctx, o.Kube, l); err != nil {
			return err
		}
	}
	if confined {
		if err := DeleteFences(ctx, o.Kube); err != nil {
			return err
		}
	}
	if err := o.Cluster.DeleteCheckpoints(ctx, checkpointPrefix(run.Name)); err != nil {
		return err
	}
	if err := release(); err != nil { // Windows removes no file that is open
		return err
	}
	return o.Store.Remove(run.Name)
}

// SameCluster is a Problem when the cluster is not the one that the workshop was
// started on, although it has its name: nothing the workshop made is there.
func SameCluster(run Run, id string) error {
	if run.ClusterID == "" || run.ClusterID == id {
		return nil
	}
	return problem.New(fmt.Sprintf("go on with workshop %q", run.Name),
		fmt.Errorf("cluster %q was made anew since, and nothing of the workshop is on it", run.Cluster),
		fmt.Sprintf("berth workshop stop --workshop %s, then berth workshop start %s --step N: the steps before N are solved for you", run.Name, run.Dir))
}
