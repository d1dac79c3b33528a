package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
	"github.com/berth-dev/berth/translate/export"
)

type explainOptions struct {
	format  string
	target  string
	inspect bool
}

func newExplainCommand(app *App) *cobra.Command {
	var opts explainOptions
	cmd := &cobra.Command{
		Use:   "explain [SERVICE[.ATTRIBUTE]]",
		Short: "Say what a service, or one of its attributes, becomes on Kubernetes, and why",
		Long: `Say what becomes of the attributes of the compose project: of those that are not
kept exactly, of all of a service, or of a single one, with the part of the
manifests that it is responsible for.`,
		Example: `  berth explain
  berth explain web
  berth explain web.healthcheck
  berth explain volumes.data`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.target != string(translate.Portable) && opts.target != string(translate.Owned) {
				return problem.New(fmt.Sprintf("unknown --target %q", opts.target), nil, "use portable or owned")
			}
			what := ""
			if len(args) > 0 {
				what = args[0]
			}
			return app.explain(cmd.Context(), what, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.target, "target", string(translate.Owned), "`cluster` to translate for: owned (one that berth created) or portable (any)")
	flags.BoolVar(&opts.inspect, "inspect-images", false, "ask the engine for what the images it holds declare")
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// An explanation is what explain prints.
type explanation struct {
	Path    string            `json:"path,omitempty"`
	Entries []translate.Entry `json:"entries"`
	YAML    string            `json:"yaml,omitempty"`
}

func (app *App) explain(ctx context.Context, what string, opts explainOptions) error {
	input, _, err := app.project(ctx, nil)
	if err != nil {
		return err
	}
	if opts.inspect {
		if err := app.inspectImages(ctx, &input); err != nil {
			return err
		}
	}
	result, err := translate.Translate(input, exportTarget(opts.target, input))
	if err != nil {
		return err
	}
	app.settle()
	if what == "" {
		if opts.format == "json" {
			return printJSON(app.Out, explanation{Entries: result.Report})
		}
		return export.Table(app.Out, result.Report, app.color())
	}
	path, err := attributePath(what, input)
	if err != nil {
		return err
	}
	e := explanation{Path: path, Entries: below(result.Report, path)}
	if e.YAML, err = app.fragment(ctx, path, input, result, opts); err != nil {
		return err
	}
	if opts.format == "json" {
		return printJSON(app.Out, e)
	}
	return printExplanation(app.Out, e)
}

// attributePath makes a full path of what the user wrote: services may be left
// out of it.
func attributePath(what string, input translate.Input) (string, error) {
	names := append(input.Project.ServiceNames(), input.LeftOut...)
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // web.api before web
	for _, name := range names {
		if what == name || strings.HasPrefix(what, name+".") {
			if slices.Contains(input.LeftOut, name) {
				return "", problem.New(fmt.Sprintf("no active profile selects the service %q", name), nil, "berth --profile PROFILE explain "+what)
			}
			return "services." + what, nil
		}
	}
	if _, set := input.Positions[what]; set {
		return what, nil
	}
	name, _, _ := strings.Cut(what, ".")
	return "", problem.New(fmt.Sprintf("no service %q in the project", name), nil, suggestion(name, names))
}

// below keeps the entries of a path, of what is below it, and, when there are
// none, of what it is part of.
func below(report []translate.Entry, path string) []translate.Entry {
	var entries []translate.Entry
	for _, e := range report {
		if e.Path == path || strings.HasPrefix(e.Path, path+".") || strings.HasPrefix(e.Path, path+"[") {
			entries = append(entries, e)
		}
	}
	if len(entries) > 0 {
		return entries
	}
	for _, e := range report {
		if strings.HasPrefix(path, e.Path+".") || strings.HasPrefix(path, e.Path+"[") {
			entries = append(entries, e)
		}
	}
	return entries
}

// fragment is the part of the manifests that an attribute is responsible for:
// what is not there when the project is translated without it.
func (app *App) fragment(ctx context.Context, path string, input translate.Input, result translate.Result, opts explainOptions) (string, error) {
	if name, ok := strings.CutPrefix(path, "services."); ok {
		if _, whole := input.Project.Services[name]; whole {
			return objectsOf(name, result)
		}
	}
	options := app.composeOptions(nil)
	options.Without = path
	rest, _, err := composefile.Read(ctx, options)
	var refused composefile.Errors
	var one *composefile.Error
	if errors.As(err, &refused) || errors.As(err, &one) {
		return "", nil // the project cannot be without it, or it sits in a file that is read whole
	}
	if err != nil {
		return "", err
	}
	rest.Images = input.Images
	other, err := translate.Translate(rest, exportTarget(opts.target, input))
	if err != nil {
		return "", err
	}
	text, err := export.Fragment(result.Objects(), other.Objects())
	return string(text), err
}

// objectsOf is everything that belongs to one service.
func objectsOf(service string, result translate.Result) (string, error) {
	label := service // as labels spell it
	for _, s := range result.Services {
		for _, o := range s.Objects {
			if value := o.GetLabels()[model.LabelService]; s.Name == service && value != "" {
				label = value
			}
		}
	}
	var objects []translate.Object
	for _, o := range result.Objects() {
		if o.GetLabels()[model.LabelService] == label {
			objects = append(objects, o)
		}
	}
	var b strings.Builder
	err := export.YAML(&b, objects)
	return b.String(), err
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func printExplanation(w io.Writer, e explanation) error {
	var b strings.Builder
	if len(e.Entries) == 0 {
		fmt.Fprintf(&b, "The project does not set %s.\n", e.Path)
	}
	for _, entry := range e.Entries {
		fmt.Fprintf(&b, "%s", entry.Path)
		if entry.Position.File != "" {
			fmt.Fprintf(&b, "  (%s:%d)", entry.Position.File, entry.Position.Line)
		}
		fmt.Fprintf(&b, "\n  %s: %s\n", entry.Status, entry.Done)
		if entry.Do != "" {
			fmt.Fprintf(&b, "  what you can do: %s\n", entry.Do)
		}
	}
	if e.YAML != "" {
		b.WriteString("\n" + e.YAML)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
