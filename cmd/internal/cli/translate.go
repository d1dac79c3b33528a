package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/agent"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/export"
)

type translateOptions struct {
	format  string
	output  string
	report  string
	strict  string
	target  string
	inspect bool
}

func newTranslateCommand(app *App) *cobra.Command {
	var opts translateOptions
	cmd := &cobra.Command{
		Use:     "translate",
		Aliases: []string{"convert"},
		Short:   "Print the Kubernetes manifests that the compose project becomes",
		Long: `Translate the compose project to Kubernetes manifests, and say what became of
every attribute that could not be kept exactly.

The manifests go to standard output, to a file, or to a folder with one file an
object; files of an earlier run that are no longer needed are removed from the
folder, files that are not berth's are never touched. The report goes to
standard error.`,
		Example: `  berth translate | kubectl apply -f -
  berth translate -o k8s/ --report report.json
  berth translate --format helm -o chart/
  berth translate --strict -o /dev/null`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.check(); err != nil {
				return err
			}
			return app.translate(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.format, "format", "yaml", "`form` of the manifests: yaml, kustomize or helm")
	flags.StringVarP(&opts.output, "output", "o", "-", "`FILE`, folder, or - for standard output")
	flags.StringVar(&opts.report, "report", "", "write the report as JSON to a `FILE`; - is standard output, in place of the manifests")
	flags.StringVar(&opts.strict, "strict", "", "fail when an attribute is dropped, with --strict=STATUS also when its `status` is needs-cluster or approximated")
	flags.Lookup("strict").NoOptDefVal = string(translate.Dropped)
	flags.StringVar(&opts.target, "target", string(translate.Portable), "`cluster` to translate for: portable (any) or owned (one that berth created)")
	flags.BoolVar(&opts.inspect, "inspect-images", false, "ask the engine for what the images it holds declare (user, ports, health check)")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed(translateForms...))
	_ = cmd.RegisterFlagCompletionFunc("strict", fixed(string(translate.Dropped), string(translate.NeedsCluster), string(translate.Approximated)))
	_ = cmd.RegisterFlagCompletionFunc("target", fixed(string(translate.Portable), string(translate.Owned)))
	return cmd
}

var translateForms = []string{"yaml", "kustomize", "helm"}

// strictness lists, by the value of --strict, the statuses that fail.
var strictness = map[string][]translate.Status{
	"":                             nil,
	string(translate.Dropped):      {translate.Dropped},
	string(translate.NeedsCluster): {translate.Dropped, translate.NeedsCluster},
	string(translate.Approximated): {translate.Dropped, translate.NeedsCluster, translate.Approximated},
}

func (o translateOptions) check() error {
	switch {
	case !slices.Contains(translateForms, o.format):
		return misuse(fmt.Sprintf("unknown --format %q", o.format), nil, suggestion(o.format, translateForms))
	case o.format != "yaml" && o.output == "-" && o.report != "-":
		return misuse(fmt.Sprintf("--format %s makes several files", o.format), nil, "name a folder: -o FOLDER")
	}
	if _, known := strictness[o.strict]; !known {
		return misuse(fmt.Sprintf("unknown --strict %q", o.strict), nil, "use --strict, --strict=needs-cluster or --strict=approximated")
	}
	return checkTarget(o.target)
}

func (app *App) translate(ctx context.Context, opts translateOptions) error {
	input, result, err := app.translation(ctx, opts.target, opts.inspect)
	if err != nil {
		return err
	}
	if err := app.writeReport(opts.report, result.Report); err != nil {
		return err
	}
	if err := lossError(opts.strict, result.Report); err != nil {
		return err
	}
	if opts.report == "-" && opts.output == "-" {
		return nil
	}
	return app.writeManifests(ctx, opts, input, result)
}

// translation reads and translates the project for a kind of cluster, with what
// the engine knows of its images if asked.
func (app *App) translation(ctx context.Context, target string, inspect bool) (translate.Input, translate.Result, error) {
	input, _, err := app.project(ctx, nil)
	if err == nil && inspect {
		err = app.inspectImages(ctx, &input)
	}
	if err != nil {
		return input, translate.Result{}, err
	}
	result, err := translate.Translate(input, exportTarget(target, input))
	app.settle()
	return input, result, err
}

// checkTarget refuses a --target that does not exist.
func checkTarget(target string) error {
	if target != string(translate.Portable) && target != string(translate.Owned) {
		return misuse(fmt.Sprintf("unknown --target %q", target), nil, "use portable or owned")
	}
	return nil
}

// exportTarget is a cluster that berth does not look at.
func exportTarget(kind string, input translate.Input) translate.Target {
	t := translate.Target{Kind: translate.TargetKind(kind), IngressDomain: "localhost", HTTPPort: 80}
	if t.Kind == translate.Owned {
		// A cluster that berth creates has its agent, and mounts the project's directory.
		t.AgentDir = agent.Dir
		t.Mounts = []translate.Mount{{Host: input.Project.WorkingDir, Node: input.Project.WorkingDir}}
	}
	return t
}

// writeReport writes the report as JSON where --report says, else as a table to
// standard error.
func (app *App) writeReport(file string, entries []translate.Entry) error {
	switch file {
	case "":
		return export.Table(app.Err, entries, app.color())
	case "-":
		return export.JSON(app.Out, entries)
	}
	var b bytes.Buffer
	if err := export.JSON(&b, entries); err != nil {
		return err
	}
	return app.writeFile(file, b.Bytes())
}

// lossError fails when the report has an entry that --strict does not let pass,
// or one without which the manifests would not run what the user has.
func lossError(strict string, entries []translate.Entry) error {
	var missing, lost []string
	for _, e := range entries {
		if e.Blocks && e.Status == translate.Dropped {
			missing = append(missing, e.Path)
		}
		if slices.Contains(strictness[strict], e.Status) {
			lost = append(lost, e.Path)
		}
	}
	if len(missing) > 0 {
		return problem.New("the manifests would lack what the project needs: "+firstOf(missing), nil, "the report above says why, and where each stands")
	}
	if len(lost) > 0 {
		return problem.New("--strict: not kept: "+firstOf(lost), nil, "berth explain says what each becomes; without --strict the manifests are written all the same")
	}
	return nil
}

// firstOf names the first few of a list.
func firstOf(paths []string) string {
	if len(paths) > 3 {
		paths = append(slices.Clone(paths[:3]), fmt.Sprintf("%d more", len(paths)-3))
	}
	return strings.Join(paths, ", ")
}

// writeManifests writes the objects in the form and to the place asked for.
func (app *App) writeManifests(ctx context.Context, opts translateOptions, input translate.Input, result translate.Result) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	objects := result.Objects()
	if opts.output == "-" {
		return export.YAML(app.Out, objects)
	}
	path := opts.output
	if !filepath.IsAbs(path) {
		path = filepath.Join(app.Dir, path)
	}
	switch {
	case opts.format == "helm":
		return export.Helm(path, result)
	case opts.format == "kustomize":
		dev, err := translate.Translate(input, devTarget(input))
		if err != nil {
			return err
		}
		return export.Kustomize(path, result, dev)
	case isFolder(opts.output, path):
		return export.Dir(path, objects)
	}
	var b bytes.Buffer
	if err := export.YAML(&b, objects); err != nil {
		return err
	}
	return app.writeFile(opts.output, b.Bytes())
}

// devTarget is what the dev overlay of a kustomization is for: a cluster that
// berth created, which mounts the project's directory.
func devTarget(input translate.Input) translate.Target {
	t := exportTarget(string(translate.Owned), input)
	t.Dev = true
	return t
}

// isFolder reports whether -o means a folder: it is one, ends in a slash, or
// is a new name without the ending of a file.
func isFolder(output, path string) bool {
	if info, err := os.Stat(path); err == nil {
		return info.IsDir()
	}
	return strings.HasSuffix(output, "/") || filepath.Ext(path) == ""
}

// writeFile writes a file whole or not at all. Devices are written to as they
// are.
func (app *App) writeFile(path string, content []byte) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(app.Dir, path)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeTo(path, content)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Chmod(0o644); err != nil {
		temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func writeTo(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
