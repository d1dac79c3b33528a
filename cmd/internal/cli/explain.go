package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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
		Args:              takes(0, 1, "name one service or attribute at most"),
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTarget(opts.target); err != nil {
				return err
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
	Outlook *translate.Entry  `json:"outlook,omitempty"` // of an attribute that is not set: what it would become
	Of      string            `json:"of,omitempty"`      // what the YAML belongs to when the attribute cannot be told from it
	YAML    string            `json:"yaml,omitempty"`
}

func (app *App) explain(ctx context.Context, what string, opts explainOptions) error {
	input, result, err := app.translation(ctx, opts.target, opts.inspect)
	if err != nil {
		return err
	}
	if what == "" {
		if opts.format == "json" {
			return printJSON(app.Out, explanation{Entries: result.Report})
		}
		return export.Table(app.Out, result.Report, app.color())
	}
	subject, err := subjectOf(what, input)
	if err != nil {
		return err
	}
	e := explanation{Path: subject.path(), Entries: below(result.Report, subject.path())}
	switch {
	case subject.attribute == "" && subject.section == "services":
		e.YAML, err = objectsOf(subject.name, result)
	case len(e.Entries) == 0:
		e.Entries = []translate.Entry{}
		var outlook translate.Entry
		outlook, err = translate.Outlook(subject.section, subject.attribute, translate.TargetKind(opts.target))
		if outlook.Status != "" {
			e.Outlook = &outlook
		}
	default:
		e.Of, e.YAML, err = app.fragment(ctx, subject, input, result, opts)
	}
	if err != nil {
		return err
	}
	if opts.format == "json" {
		return printJSON(app.Out, e)
	}
	return printExplanation(app.Out, e)
}

// A subject is what is to be explained: services, my.db, healthcheck.test.
type subject struct{ section, name, attribute string }

// path is the attribute path of a subject.
func (s subject) path() string {
	parts := []string{s.section, s.name}
	if s.name == "" {
		parts = parts[:1]
	}
	path := strings.Join(parts, ".")
	if s.attribute != "" && s.attribute[0] != '[' {
		path += "."
	}
	return path + s.attribute
}

// parent is what a subject is part of, nothing above an entry of a section.
func (s subject) parent() (subject, bool) {
	if s.attribute == "" {
		return s, false
	}
	s.attribute = s.attribute[:max(0, strings.LastIndexAny(s.attribute, ".["))]
	return s, s.attribute != "" || s.section != "services"
}

// subjectOf finds what the user means: the word "services" may be left out.
func subjectOf(what string, input translate.Input) (subject, error) {
	names := append(input.Project.ServiceNames(), input.LeftOut...)
	if s, ok := cutName("services", what, names); ok {
		if slices.Contains(input.LeftOut, s.name) {
			return s, problem.New(fmt.Sprintf("no active profile selects the service %q", s.name), nil, "berth --profile PROFILE explain "+what)
		}
		return s, nil
	}
	section, rest, _ := strings.Cut(what, ".")
	p := input.Project
	known := map[string][]string{
		"services": names, "jobs": slices.Collect(maps.Keys(p.Jobs)), "volumes": p.VolumeNames(), "networks": p.NetworkNames(),
		"secrets": p.SecretNames(), "configs": p.ConfigNames(), "models": p.ModelNames(),
	}
	if s, ok := cutName(section, rest, known[section]); ok {
		return s, nil
	}
	if _, set := input.Positions[what]; set {
		return subject{section: what}, nil
	}
	if list, ok := known[section]; ok && rest != "" {
		name, _, _ := strings.Cut(rest, ".")
		return subject{}, problem.New(fmt.Sprintf("no %s %q in the project", strings.TrimSuffix(section, "s"), name), nil, suggestion(name, list))
	}
	return subject{}, unknownService(section, names)
}

// cutName takes the longest of the names off the front of a text.
func cutName(section, text string, names []string) (subject, bool) {
	best := subject{section: section}
	for _, name := range names {
		rest, ok := strings.CutPrefix(text, name)
		if ok && len(name) > len(best.name) && (rest == "" || rest[0] == '.') {
			best.name, best.attribute = name, strings.TrimPrefix(rest, ".")
		}
	}
	return best, best.name != ""
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
// what is not there when the project is translated without it. An attribute
// that the project cannot be without is explained with what it is part of,
// which is returned too.
func (app *App) fragment(ctx context.Context, s subject, input translate.Input, result translate.Result, opts explainOptions) (of, yaml string, err error) {
	asked := s.path()
	for more := true; more; s, more = s.parent() {
		options := app.composeOptions(ctx, nil)
		options.Without = s.path()
		rest, _, err := composefile.Read(ctx, options)
		var refused *translate.Error
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		rest.Images = withStandIn(input, result, s)
		other, err := translate.Translate(rest, exportTarget(opts.target, input))
		if err != nil {
			return "", "", err
		}
		if s.path() != asked {
			of = s.path()
		}
		text, err := export.Fragment(result.Objects(), other.Objects())
		return of, string(text), err
	}
	return "", "", nil
}

// withStandIn gives the image that stands in for a service's own what is known
// of that, so that only the image itself makes a difference.
func withStandIn(input translate.Input, result translate.Result, s subject) map[string]translate.ImageFacts {
	images := maps.Clone(input.Images)
	for _, service := range result.Services {
		if facts, ok := images[service.Image]; ok && service.Name == s.name && s.section == "services" {
			facts.Ref = ""
			images[composefile.StandInImage] = facts
		}
	}
	return images
}

// objectsOf is everything that belongs to one service, and the workload whose
// pod it runs in.
func objectsOf(service string, result translate.Result) (string, error) {
	workload := ""
	for _, s := range result.Services {
		if s.Name == service {
			workload = s.Workload
		}
	}
	var objects []translate.Object
	add := func(list []translate.Object, wanted func(translate.Object) bool) {
		for _, o := range list {
			if wanted(o) {
				objects = append(objects, o)
			}
		}
	}
	add(result.Shared, func(o translate.Object) bool {
		return o.GetLabels()[model.LabelService] == translate.LabelValue(service)
	})
	for _, s := range result.Services {
		switch {
		case s.Name == service:
			add(s.Objects, func(translate.Object) bool { return true })
		case s.Workload == workload && s.Kind != "":
			add(s.Objects, func(o translate.Object) bool { return o.GetObjectKind().GroupVersionKind().Kind == s.Kind })
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
	if e.Outlook != nil {
		b.WriteString("If it did:\n")
		printOutcome(&b, *e.Outlook)
	}
	for _, entry := range e.Entries {
		b.WriteString(entry.Path)
		if place := entry.Position.String(); place != "" {
			fmt.Fprintf(&b, "  (%s)", place)
		}
		b.WriteByte('\n')
		printOutcome(&b, entry)
	}
	switch {
	case e.YAML != "" && e.Of != "":
		fmt.Fprintf(&b, "\n# what all of %s becomes\n%s", e.Of, e.YAML)
	case e.YAML != "":
		b.WriteString("\n" + e.YAML)
	case len(e.Entries) > 0:
		b.WriteString("\nNothing in the manifests comes from it alone.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printOutcome writes what became of an attribute and what can be done about it.
func printOutcome(b *strings.Builder, e translate.Entry) {
	fmt.Fprintf(b, "  %s: %s\n", e.Status, e.Done)
	if e.Do != "" {
		fmt.Fprintf(b, "  what you can do: %s\n", e.Do)
	}
}
