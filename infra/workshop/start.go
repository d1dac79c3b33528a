package workshop

import (
	"context"
	"fmt"
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
			Name: name, Namespace: w.Name + "-" + name, Domain: name + ".localhost", Confined: true, Token: token(),
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

// Enter begins a workshop at a step, after solving those before it. A learner
// who has begun stays where he or she is.
func (s *Session) Enter(ctx context.Context, step int, line func(string)) error {
	p, err := s.Progress()
	if err != nil || !p.Entered.IsZero() {
		return err
	}
	for i := range step {
		if err := s.Begin(ctx, i, line); err != nil {
			return err
		}
		o, err := s.Solve(ctx, line)
		if err != nil {
			return err
		}
		if !o.OK {
			return s.failed(s.Workshop.Steps[i], Solve, o)
		}
	}
	return s.Begin(ctx, step, line)
}

// Stop takes back what the steps did, removes all learners' namespaces, and
// forgets the workshop. Run again it goes on.
func Stop(ctx context.Context, run Run, o Options, line func(string)) error {
	confined := false
	for _, l := range run.Learners {
		confined = confined || l.Confined
		s, err := NewSession(run, l.Name, o)
		if err != nil {
			return err
		}
		if err := s.CleanUp(ctx, line); err != nil {
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
	return o.Store.Remove(run.Name)
}
