package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/devloop"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/progress"
)

type upOptions struct {
	devloop.UpOptions
	scale  []string
	dryRun bool
	format string
}

func newUpCommand(app *App) *cobra.Command {
	var opts upOptions
	var attach attachOptions
	var watch bool
	cmd := &cobra.Command{
		Use:   "up [SERVICE...]",
		Short: "Create the cluster if needed, build, load and start the services",
		Long: `Create the cluster if there is none, build and load the images, translate the
compose file, apply it and wait until everything is ready. Running it again does
only what is not done yet.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			up, err := opts.complete(args)
			if err != nil {
				return err
			}
			if watch {
				return app.dev(cmd.Context(), args, up, devOptions{upOptions: opts})
			}
			if err := attach.check(cmd.Flags().Changed("detach")); err != nil {
				return err
			}
			if !up.NoStart { // which has its way, as with docker compose
				if up.NoWait, err = noWait(cmd.Flags(), attach); err != nil {
					return err
				}
			}
			return app.up(cmd.Context(), args, up, opts, attach)
		},
	}
	opts.register(cmd)
	attach.register(cmd.Flags())
	opts.registerOnce(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "stay, and bring over what you save, as dev does")
	for _, once := range []string{"detach", "dry-run", "no-start", "no-recreate", "wait", "abort-on-container-exit", "abort-on-container-failure", "exit-code-from"} {
		cmd.MarkFlagsMutuallyExclusive("watch", once)
	}
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// up is the verb, after its flags have been read.
func (app *App) up(ctx context.Context, services []string, up devloop.UpOptions, opts upOptions, attach attachOptions) error {
	named := slices.Concat(slices.Collect(maps.Keys(up.Scale)), attach.attach, attach.noAttach)
	if attach.exitCodeFrom != "" {
		named = append(named, attach.exitCodeFrom)
	}
	s, err := app.newSession(ctx, services, sessionOptions{plan: opts.dryRun, named: named})
	if err != nil {
		return err
	}
	defer s.close()
	if opts.dryRun {
		plan, err := s.engine.Plan(ctx, up)
		if err != nil {
			return err
		}
		app.settle()
		if opts.format == "json" {
			return json.NewEncoder(app.Out).Encode(plan)
		}
		_, err = fmt.Fprint(app.Out, plan)
		return err
	}
	if attach.stays() && !up.NoStart {
		return app.upAttached(ctx, s, up, attach)
	}
	result, err := s.engine.Up(ctx, up)
	app.settle()
	if err != nil {
		return image.WithMissing(err)
	}
	if newImages(result) {
		if err := s.prune(ctx); err != nil && ctx.Err() == nil {
			progress.Say(app.sink(), progress.Warn, "prune", "images that are not needed any more stay: "+err.Error()) // all serves
		}
	}
	if up.NoStart {
		result.URLs, result.Ports = nil, nil // nothing answers there
	}
	return app.printUp(result, opts.format)
}

// noWait reads --wait and --detach, and refuses combinations that mean nothing.
func noWait(flags *pflag.FlagSet, attach attachOptions) (bool, error) {
	wait, err := flags.GetBool("wait")
	if err != nil {
		return false, err
	}
	detach, err := flags.GetBool("detach")
	switch {
	case err != nil:
		return false, err
	case attach.stays():
		return false, nil
	case !detach:
		return false, misuse("up --detach=false", errors.New("up returns when everything is ready"),
			"berth dev stays and follows the logs, and so does berth logs -f; --abort-on-container-exit stays until a container ends")
	}
	for _, name := range []string{"timeout", "no-log-prefix", "timestamps", "attach", "attach-dependencies", "no-attach", "no-color"} {
		if flags.Changed(name) {
			return false, misuse("up --"+name, errors.New("it is for an up that stays"), "add --abort-on-container-exit, or leave it out")
		}
	}
	return !wait, nil
}

// registerOnce adds the flags of up alone.
func (o *upOptions) registerOnce(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Bool("wait", true, "wait until everything is ready; with --wait=false only until it is applied")
	flags.BoolP("detach", "d", true, "return when everything is ready; this is the default")
	flags.BoolVar(&o.NoStart, "no-start", false, "create everything, and start nothing that does not run; start does that")
	flags.BoolVar(&o.NoRecreate, "no-recreate", false, "leave services that the cluster has as they are")
	flags.StringVar(&o.Pull, "pull", "", "in place of pull_policy, for images without a build section: `when` is always, missing or never")
	flags.BoolVar(&o.QuietPull, "quiet-pull", false, "show no progress of pulls")
	flags.BoolVar(&o.QuietBuild, "quiet-build", false, "show no progress of builds")
	flags.BoolVar(&o.RecreateDeps, "always-recreate-deps", false, "replace the pods of what the named services depend on, even when nothing changed")
	addAlwaysFlagP(flags, "yes", "y", "ask nothing; always so")
	addAlwaysFlagP(flags, "renew-anon-volumes", "V", "give new pods new anonymous volumes; always so, but for those that services share")
	cmd.MarkFlagsMutuallyExclusive("no-recreate", "force-recreate")
	cmd.MarkFlagsMutuallyExclusive("no-recreate", "always-recreate-deps")
	cmd.MarkFlagsMutuallyExclusive("no-start", "always-recreate-deps")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the plan and do nothing")
}

// register adds the flags that up and dev share. Where docker compose has the
// flag it means the same.
func (o *upOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.Build, "build", false, "build images before starting, whatever pull_policy says")
	flags.BoolVar(&o.NoBuild, "no-build", false, "build nothing, use the images the engine has")
	flags.BoolVar(&o.NoDeps, "no-deps", false, "leave out what the named services depend on")
	flags.BoolVar(&o.ForceRecreate, "force-recreate", false, "replace pods even when nothing changed")
	flags.BoolVar(&o.RemoveOrphans, "remove-orphans", false, "remove services that the compose file no longer has")
	flags.StringArrayVar(&o.scale, "scale", nil, "run `SERVICE=N` replicas; may be repeated")
	addWaitTimeout(flags, &o.WaitTimeout, "give up after this `time`; 0: each service has its own limits")
	cmd.MarkFlagsMutuallyExclusive("build", "no-build")
}

// complete checks the options against the services that the user named.
func (o *upOptions) complete(services []string) (devloop.UpOptions, error) {
	up := o.UpOptions
	up.Services = services
	for _, s := range o.scale {
		name, n, err := parseScale(s)
		if err != nil {
			return up, err
		}
		if up.Scale == nil {
			up.Scale = map[string]int{}
		}
		up.Scale[name] = n
	}
	return up, checkPull(up.Pull)
}

// checkPull refuses values of --pull that are none.
func checkPull(when string) error {
	if !slices.Contains([]string{"", "always", "missing", "never"}, when) {
		return misuse(fmt.Sprintf("--pull %q", when), nil, "choose always, missing or never")
	}
	return nil
}

// parseScale reads SERVICE=N.
func parseScale(s string) (service string, n int, err error) {
	service, count, found := strings.Cut(s, "=")
	if n, err = strconv.Atoi(count); !found || err != nil || n < 0 || service == "" {
		return "", 0, misuse(fmt.Sprintf("scale %q", s), nil, "write SERVICE=N, for example web=3")
	}
	return service, n, nil
}
