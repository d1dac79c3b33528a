package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate/composefile"
)

// globalFlags are the root flags. They stand before the verb, as in
// `docker compose -f x up`, or after it.
type globalFlags struct {
	files      listValue
	project    string
	profiles   listValue
	envFiles   listValue
	projectDir string
	progress   string
	cluster    string
	context    string
	registry   string
	insecure   bool // of registry
	pullSecret bool // copy credentials into the cluster of context
}

// addGlobalFlags gives the root command and every verb below it the root
// flags. Where a verb uses a letter itself (logs -f, run -p), the root flag
// keeps only its long name there.
func (app *App) addGlobalFlags(root *cobra.Command) {
	app.global.progress = "auto"
	for _, cmd := range append(descendants(root), root) {
		flags := app.globalFlagSet()
		flags.VisitAll(func(f *pflag.Flag) {
			if cmd.Flags().Lookup(f.Name) != nil {
				return // the verb has its own
			}
			if f.Shorthand != "" && cmd.Flags().ShorthandLookup(f.Shorthand) != nil {
				f.Shorthand = ""
			}
			f.Hidden = cmd != root // once in the help is enough
			cmd.Flags().AddFlag(f)
		})
		_ = cmd.RegisterFlagCompletionFunc("progress", fixed(ui.Modes...))
	}
}

func descendants(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range cmd.Commands() {
		all = append(all, c)
		all = append(all, descendants(c)...)
	}
	return all
}

// globalFlagSet is a fresh set of flags that all write to app.global.
func (app *App) globalFlagSet() *pflag.FlagSet {
	g := &app.global
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.VarP(&g.files, "file", "f", "compose `file`; may be repeated, \"-\" is standard input")
	flags.StringVarP(&g.project, "project-name", "p", g.project, "project `name`; default: the directory's")
	flags.Var(&g.profiles, "profile", "activate a `profile`; may be repeated")
	flags.Var(&g.envFiles, "env-file", "`file` with variables for the compose file instead of .env; may be repeated")
	flags.StringVar(&g.projectDir, "project-directory", g.projectDir, "`directory` that relative paths start from")
	flags.StringVar(&g.progress, "progress", g.progress, "show progress in this `form`: "+strings.Join(ui.Modes, ", "))
	flags.StringVar(&g.cluster, "cluster", g.cluster, "`name` of the kind cluster (default \"berth\")")
	flags.StringVar(&g.context, "context", g.context, "kubeconfig `context` of another cluster to use instead")
	flags.StringVar(&g.registry, "registry", g.registry, "`HOST[/PATH]` of the registry that the cluster of --context gets images from")
	flags.BoolVar(&g.insecure, "insecure-registry", g.insecure, "the registry speaks plain HTTP, or nobody signed its certificate")
	flags.BoolVar(&g.pullSecret, "pull-secret", g.pullSecret, "copy your Docker credentials for the project's registries into a Secret on the cluster of --context, and let its pods pull with it")
	return flags
}

// onThisMachine reports whether a verb works on clusters of this machine only.
func onThisMachine(cmd *cobra.Command) bool {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	return slices.Contains([]string{"cluster", "load", "bundle", "workshop", "offline"}, cmd.Name())
}

// check refuses values that no verb can work with, or not cmd.
func (app *App) check(cmd *cobra.Command) error {
	g := app.global
	switch {
	case g.context != "" && onThisMachine(cmd):
		return problem.New(fmt.Sprintf("%s --context %s", cmd.CommandPath(), g.context), errors.New("it works on kind clusters of this machine"), "name one with --cluster")
	case g.context != "" && g.cluster != "":
		return problem.New("both --cluster and --context name a cluster", nil, "--cluster for a kind cluster of berth's, --context for any other")
	case g.registry != "" && g.context == "":
		return problem.New(fmt.Sprintf("--registry %q", g.registry), errors.New("images are loaded straight into the nodes of berth's own clusters"), "name another cluster with --context")
	case strings.Contains(g.registry, "://"):
		return problem.New(fmt.Sprintf("--registry %q", g.registry), errors.New("it is not HOST[:PORT][/PATH]"), "leave out what stands before ://; --insecure-registry allows plain HTTP")
	case g.pullSecret && g.context == "":
		return problem.New("--pull-secret", errors.New("berth's own clusters need none: the engine pulls, with your credentials"), "name another cluster with --context")
	case g.insecure && g.registry == "":
		return problem.New("--insecure-registry", nil, "name the registry with --registry")
	}
	if g.project != "" {
		if err := composefile.CheckName(g.project, "--project-name"); err != nil {
			return err
		}
	}
	for _, mode := range ui.Modes {
		if app.global.progress == mode {
			return nil
		}
	}
	return problem.New(fmt.Sprintf("unknown --progress %q", app.global.progress), nil,
		suggestion(app.global.progress, ui.Modes))
}

// A listValue is a repeatable flag. Several flags may share one, before and
// after the verb: values add up.
type listValue []string

func (l *listValue) String() string     { return strings.Join(*l, ",") }
func (l *listValue) Type() string       { return "strings" }
func (l *listValue) Set(v string) error { *l = append(*l, v); return nil }

// addFormatFlag adds --format for verbs that print a table or JSON.
func addFormatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "table", "output `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed("table", "json"))
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *format != "table" && *format != "json" {
			return misuse(fmt.Sprintf("unknown --format %q", *format), nil, "use table or json")
		}
		return run(cmd, args)
	}
}
