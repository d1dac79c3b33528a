package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/infra/workshop"
)

func newWorkshopLintCommand(app *App) *cobra.Command {
	var folder, format string
	cmd := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Find what would trouble the learners of a workshop",
		RunE: func(*cobra.Command, []string) error {
			found, err := workshop.Lint(folder)
			if err != nil {
				return err
			}
			if format == "json" {
				if err := json.NewEncoder(app.Out).Encode(append([]workshop.Finding{}, found...)); err != nil {
					return err
				}
			} else {
				for _, f := range found {
					fmt.Fprintln(app.Out, f)
				}
			}
			if len(found) > 0 {
				return problem.New(fmt.Sprintf("%d faults in workshop %s", len(found), folder), nil, "")
			}
			return nil
		},
	}
	app.folderArgument(cmd, &folder)
	addFormatFlag(cmd, &format)
	return cmd
}

// stepVerb is a verb that works on the current step of a learner.
func (app *App) stepVerb(flags *workshopFlags, use, short string, act func(context.Context, *workshop.Session) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := app.workshopSession(cmd.Context(), flags)
			if err != nil {
				return err
			}
			return act(cmd.Context(), s)
		},
	}
}

// task shows a step's program as progress: its lines as they come.
func (app *App) task(name string) (*progress.Task, func(string)) {
	t := progress.Start(app.sink(), name, "")
	return t, t.Log
}

func newWorkshopCheckCommand(app *App, flags *workshopFlags) *cobra.Command {
	var format string
	cmd := app.stepVerb(flags, "check", "Say whether the current step is done, and what is missing", func(ctx context.Context, s *workshop.Session) error {
		o, err := s.Check(ctx, nil)
		app.settle()
		if err != nil {
			return err
		}
		if format == "json" {
			if err := json.NewEncoder(app.Out).Encode(o); err != nil {
				return err
			}
		} else {
			app.printAnswer(o)
		}
		return unlessPassed(o)
	})
	addFormatFlag(cmd, &format)
	return cmd
}

// unlessPassed ends the process with 1 when a check did not pass.
func unlessPassed(o workshop.Outcome) error {
	if !o.OK {
		return exitError{exitFailure}
	}
	return nil
}

// printAnswer prints what a check said.
func (app *App) printAnswer(o workshop.Outcome) {
	mark, word := "✔", "done"
	if !o.OK {
		mark, word = "✘", "not yet"
	}
	fmt.Fprintf(app.Out, "%s %s\n", mark, word)
	if o.Output != "" {
		fmt.Fprintln(app.Out, "  "+strings.ReplaceAll(o.Output, "\n", "\n  "))
	}
	if o.Output == "" && o.Why != "" || o.TimedOut {
		fmt.Fprintln(app.Out, "  "+o.Why)
	}
}

func newWorkshopNextCommand(app *App, flags *workshopFlags) *cobra.Command {
	var solve bool
	cmd := app.stepVerb(flags, "next", "Go to the next step when the current one is done", func(ctx context.Context, s *workshop.Session) error {
		t, line := app.task("next step")
		if solve {
			if o, err := s.Solve(ctx, line); err != nil || !o.OK {
				t.Done("")
				return app.answered(o, err)
			}
		}
		o, moved, err := s.Next(ctx, line)
		t.End(err, "") //nolint:errcheck // returned below
		if err != nil || !o.OK {
			return app.answered(o, err)
		}
		app.settle()
		if !moved {
			fmt.Fprintln(app.Out, "That was the last step. You have finished "+s.Workshop.Title+".")
			return nil
		}
		return app.printStep(s)
	})
	cmd.Flags().BoolVar(&solve, "solve", false, "solve the current step first")
	return cmd
}

// answered ends a verb whose check or program did not pass.
func (app *App) answered(o workshop.Outcome, err error) error {
	app.settle()
	if err != nil {
		return err
	}
	app.printAnswer(o)
	return unlessPassed(o)
}

func newWorkshopBackCommand(app *App, flags *workshopFlags) *cobra.Command {
	return app.stepVerb(flags, "back", "Go back to the step before; the cluster stays as it is", func(ctx context.Context, s *workshop.Session) error {
		if err := s.Back(ctx); err != nil {
			return err
		}
		return app.printStep(s)
	})
}

func newWorkshopSolveCommand(app *App, flags *workshopFlags) *cobra.Command {
	return app.stepVerb(flags, "solve", "Do what the current step asks for", func(ctx context.Context, s *workshop.Session) error {
		t, line := app.task("solve")
		o, err := s.Solve(ctx, line)
		if err := t.End(err, ""); err != nil {
			return err
		}
		return app.answered(o, nil)
	})
}

func newWorkshopResetCommand(app *App, flags *workshopFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset [LEARNER]",
		Short: "Return to the beginning of the current step",
		Args:  takes(0, 1, "name one learner at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				flags.learner = args[0]
			}
			s, err := app.workshopSession(cmd.Context(), flags)
			if err != nil {
				return err
			}
			t, line := app.task("reset step")
			return t.End(s.Reset(cmd.Context(), line), "at its beginning")
		},
	}
	return cmd
}

func newWorkshopEnvCommand(app *App, flags *workshopFlags) *cobra.Command {
	cmd := app.stepVerb(flags, "env", "Print what a shell needs to take part", func(_ context.Context, s *workshop.Session) error {
		_, err := fmt.Fprint(app.Out, s.Exports())
		return err
	})
	cmd.Long = `Print export lines: KUBECONFIG with the learner's namespace, and NAMESPACE, DOMAIN,
INGRESS_PORT and PATH as the steps' programs have them.`
	cmd.Example = `  eval "$(berth workshop env)"`
	return cmd
}

// statusJSON is what `workshop status --format json` prints of one learner.
type statusJSON struct {
	Learner   string             `json:"learner"`
	Namespace string             `json:"namespace"`
	Step      int                `json:"step"` // from 1
	Title     string             `json:"title"`
	Done      int                `json:"done"` // steps whose check has passed
	Steps     int                `json:"steps"`
	Elapsed   float64            `json:"elapsedSeconds"`
	Last      *workshop.Result   `json:"last,omitempty"`
	Messages  []workshop.Message `json:"messages,omitempty"`
}

func newWorkshopStatusCommand(app *App, flags *workshopFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far everybody has come",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			store, run, err := app.loadRun(flags)
			if err != nil {
				return err
			}
			all, err := workshopStatus(store, run, time.Now())
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(app.Out).Encode(all)
			}
			w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "LEARNER\tNAMESPACE\tSTEP\tDONE\tLAST CHECK\tELAPSED")
			for _, s := range all {
				last := ""
				if s.Last != nil {
					last = map[bool]string{true: "passed", false: "not yet"}[s.Last.OK]
				}
				fmt.Fprintf(w, "%s\t%s\t%d. %s\t%d of %d\t%s\t%s\n", s.Learner, s.Namespace, s.Step, s.Title, s.Done, s.Steps, last,
					time.Duration(s.Elapsed*float64(time.Second)).Round(time.Second))
			}
			return w.Flush()
		},
	}
	addFormatFlag(cmd, &format)
	return cmd
}

// workshopStatus says how far every learner has come.
func workshopStatus(store workshop.Store, run workshop.Run, now time.Time) ([]statusJSON, error) {
	var all []statusJSON
	for _, l := range run.Learners {
		s, err := workshop.NewSession(run, l.Name, workshop.Options{Store: store})
		if err != nil {
			return nil, err
		}
		p, err := s.Progress()
		if err != nil {
			return nil, err
		}
		all = append(all, statusJSON{
			Learner: l.Name, Namespace: l.Namespace, Step: p.Step + 1, Title: s.Workshop.Steps[p.Step].Title, Done: len(p.Done),
			Steps: len(s.Workshop.Steps), Elapsed: now.Sub(run.Started).Seconds(), Last: p.Last, Messages: run.Messages,
		})
	}
	return all, nil
}

// printStep prints the text of the learner's current step.
func (app *App) printStep(s *workshop.Session) error {
	p, err := s.Progress()
	if err != nil {
		return err
	}
	st := s.Workshop.Steps[p.Step]
	text, err := s.Workshop.Text(st)
	if err != nil {
		return err
	}
	fmt.Fprintf(app.Out, "Step %d of %d: %s\n\n%s\n", p.Step+1, len(s.Workshop.Steps), st.Title, text)
	return nil
}

func newWorkshopStopCommand(app *App, flags *workshopFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "End a workshop: remove its namespaces and forget the progress; the cluster stays",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			store, run, err := app.loadRun(flags)
			if err != nil {
				return err
			}
			options, gone, err := app.stoppable(ctx, store, run)
			if err != nil {
				return err
			}
			if gone != "" {
				progress.Say(app.sink(), progress.Note, "workshop "+run.Name, gone+": there is nothing to remove, its progress is forgotten")
				return store.Remove(run.Name)
			}
			t, line := app.task("stop " + run.Name)
			return t.End(workshop.Stop(ctx, run, options, line), "stopped; berth cluster delete "+run.Cluster+" removes the cluster")
		},
	}
}

// stoppable are the parts that stopping a workshop needs. gone says why there is
// nothing to stop: its cluster does not exist any more.
func (app *App) stoppable(ctx context.Context, store workshop.Store, run workshop.Run) (_ workshop.Options, gone string, err error) {
	manager, err := app.clusters(ctx)
	if err != nil {
		return workshop.Options{}, "", err
	}
	info, err := manager.Status(ctx, run.Cluster)
	if err != nil {
		return workshop.Options{}, "", err
	}
	if info.State == cluster.Absent {
		return workshop.Options{}, fmt.Sprintf("cluster %q is gone", run.Cluster), nil
	}
	if info.State != cluster.Running {
		return workshop.Options{}, "", info.Err()
	}
	options, err := app.workshopOptions(ctx, store, run)
	if err != nil {
		return options, "", err
	}
	id, err := workshop.ClusterID(ctx, options.Kube)
	if err == nil && workshop.SameCluster(run, id) != nil {
		gone = fmt.Sprintf("cluster %q was made anew", run.Cluster)
	}
	return options, gone, err
}
