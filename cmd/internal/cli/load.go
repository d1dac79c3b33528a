package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/image/layout"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

type loadOptions struct {
	nodes    []string
	platform string
	quiet    bool
	format   string
}

func newLoadCommand(app *App) *cobra.Command {
	var opts loadOptions
	cmd := &cobra.Command{
		Use:   "load IMAGE|ARCHIVE...",
		Short: "Load images into the nodes of any kind cluster, sending only the layers they lack",
		Long: `Load images of the engine, or of archives, into the nodes of a kind cluster,
berth's or not. Only layers that a node lacks are sent.

An argument is an archive when it begins with / or a dot, ends in .tar, .tar.gz,
.tgz or .tar.zst, is the folder of an OCI layout, or is "-" for standard input:
what docker save writes or an OCI layout, of any number of images, plain or
compressed. Everything else is an image of the engine.

The arguments of "kind load docker-image" and "kind load image-archive" mean
the same here.`,
		Example: `  berth load web:dev
  berth load web:dev --cluster kind --nodes kind-worker,kind-worker2
  docker save web:dev api:dev | berth load -
  berth load docker-image web:dev --name kind`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) == 1 && isKindWord(args[0]) {
				return problem.New("name at least one image or archive", nil, "berth load --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return app.load(cmd.Context(), args, opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&app.global.cluster, "name", "n", "", "`name` of the cluster, as --cluster")
	flags.StringSliceVar(&opts.nodes, "nodes", nil, "comma separated `nodes` to load into (default: all of the cluster)")
	flags.StringVar(&opts.platform, "platform", "", "`os/arch` to load of images for several (default: the engine's)")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "show no progress")
	flags.Int32P("verbosity", "v", 0, "accepted, as `kind load` has it; says no more and no less")
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// The words that kind has between load and its arguments.
const (
	kindImage   = "docker-image"
	kindArchive = "image-archive"
)

func isKindWord(arg string) bool { return arg == kindImage || arg == kindArchive }

func (app *App) load(ctx context.Context, args []string, opts loadOptions) error {
	refs, archives := splitArguments(args)
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	images, err := app.images(ctx)
	if err != nil {
		return err
	}
	sink := app.sink()
	if opts.quiet {
		sink = progress.Discard
	}
	nodes, err := app.loadNodes(ctx, engine, opts.nodes, sink)
	if err != nil {
		return err
	}
	request := image.LoadRequest{Refs: refs, Platform: opts.platform, Sink: sink}
	for _, n := range nodes {
		defer n.Close()
		request.Nodes = append(request.Nodes, n)
	}
	for _, path := range archives {
		found, err := app.readArchive(ctx, images, path, opts.platform, sink)
		if err != nil {
			return err
		}
		request.Archived = append(request.Archived, found...)
	}
	loads, err := images.LoadAll(ctx, request)
	app.settle()
	return errors.Join(err, app.printLoads(loads, opts.format))
}

// images works with the engine's images.
func (app *App) images(ctx context.Context) (*image.Images, error) {
	engine, err := app.docker(ctx)
	if err != nil {
		return nil, err
	}
	return image.New(engine, image.Options{Getenv: app.Getenv})
}

// splitArguments tells images from archives, as kind's words say or by their
// looks.
func splitArguments(args []string) (refs, archives []string) {
	switch args[0] {
	case kindImage:
		return args[1:], nil
	case kindArchive:
		return nil, args[1:]
	}
	for _, arg := range args {
		if looksLikeArchive(arg) {
			archives = append(archives, arg)
		} else {
			refs = append(refs, arg)
		}
	}
	return refs, archives
}

// looksLikeArchive reports whether an argument is meant as a path. Image names
// have slashes too, but never begin with one or a dot.
func looksLikeArchive(arg string) bool {
	if arg == "-" || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") || layout.IsLayout(arg) {
		return true
	}
	for _, suffix := range []string{".tar", ".tgz", ".tar.gz", ".tar.zst"} {
		if strings.HasSuffix(arg, suffix) {
			return true
		}
	}
	return false
}

func (app *App) readArchive(ctx context.Context, images *image.Images, path, platform string, sink progress.Sink) ([]layout.NamedImage, error) {
	task := progress.Start(sink, "read "+path, "")
	var found []layout.NamedImage
	var err error
	if path == "-" {
		found, err = images.ReadStream(ctx, app.In, platform)
	} else {
		if !filepath.IsAbs(path) {
			path = filepath.Join(app.Dir, path)
		}
		found, err = images.ReadArchive(ctx, path, platform)
	}
	return found, task.End(err, fmt.Sprintf("%d images", len(found)))
}

// loadNodes finds the nodes to load into: those named, or all of the cluster.
// The only cluster of the engine need not be named.
func (app *App) loadNodes(ctx context.Context, engine *docker.Client, names []string, sink progress.Sink) ([]*image.KindNode, error) {
	name := app.global.cluster
	if name == "" {
		name = app.Getenv("KIND_CLUSTER_NAME")
	}
	if name == "" {
		var err error
		if name, err = app.onlyCluster(ctx, engine); err != nil {
			return nil, err
		}
	}
	nodes, stopped, err := image.AllNodesOf(ctx, engine, name)
	if err != nil {
		return nil, err
	}
	switch {
	case len(nodes)+len(stopped) == 0:
		return nil, problem.New(fmt.Sprintf("the engine has no node of a kind cluster %q", name), nil, "berth cluster list")
	case len(nodes) == 0:
		return nil, problem.New(fmt.Sprintf("no node of kind cluster %q runs", name), nil, "docker start "+strings.Join(stopped, " "))
	case len(names) == 0 && len(stopped) > 0:
		progress.Say(sink, progress.Warn, "load", fmt.Sprintf("stopped nodes of cluster %q get nothing: %s", name, strings.Join(stopped, ", ")))
	}
	return pickNodes(nodes, stopped, names)
}

// onlyCluster is berth's own default where it exists, or the one cluster there
// is.
func (app *App) onlyCluster(ctx context.Context, engine *docker.Client) (string, error) {
	containers, err := engine.Containers(ctx, "io.x-k8s.kind.cluster")
	if err != nil {
		return "", err
	}
	var clusters []string
	for _, c := range containers {
		clusters = append(clusters, c.Labels["io.x-k8s.kind.cluster"])
	}
	slices.Sort(clusters)
	clusters = slices.Compact(clusters)
	switch {
	case slices.Contains(clusters, app.clusterName()):
		return app.clusterName(), nil
	case len(clusters) == 1:
		return clusters[0], nil
	case len(clusters) == 0:
		return "", problem.New("there is no kind cluster", nil, "berth cluster create")
	}
	return "", problem.New("there are several kind clusters: "+strings.Join(clusters, ", "), nil, "choose one with --cluster")
}

func pickNodes(nodes []*image.KindNode, stopped, names []string) ([]*image.KindNode, error) {
	if len(names) == 0 {
		return nodes, nil
	}
	var picked []*image.KindNode
	var known []string
	for _, n := range nodes {
		known = append(known, n.Name())
		if slices.Contains(names, n.Name()) {
			picked = append(picked, n)
		}
	}
	for _, name := range names {
		switch {
		case slices.Contains(known, name):
		case slices.Contains(stopped, name):
			return nil, problem.New(fmt.Sprintf("node %q does not run", name), nil, "`docker start "+name+"`, then run the command again")
		default:
			return nil, problem.New(fmt.Sprintf("the cluster runs no node %q", name), nil, "its nodes: "+strings.Join(known, ", "))
		}
	}
	return picked, nil
}

// loadJSON is one line of `load --format json`.
type loadJSON struct {
	Node      string            `json:"node"`
	Image     string            `json:"image"`
	Outcome   model.LoadOutcome `json:"outcome"`
	Layers    int               `json:"layersSent"`
	AllLayers int               `json:"layers"`
	Bytes     int64             `json:"bytes"`
	Seconds   float64           `json:"seconds"`
	Error     string            `json:"error,omitempty"`
}

func (app *App) printLoads(loads []model.NodeLoad, format string) error {
	if format == "json" {
		out := []loadJSON{}
		for _, l := range loads {
			j := loadJSON{
				Node: l.Node, Image: l.Image, Outcome: l.Outcome, Layers: l.Layers, AllLayers: l.AllLayers,
				Bytes: l.Bytes, Seconds: l.Took.Seconds(),
			}
			if l.Err != nil {
				j.Error = l.Err.Error()
			}
			out = append(out, j)
		}
		encoder := json.NewEncoder(app.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	}
	if len(loads) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(app.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NODE\tIMAGE\tRESULT\tSENT\tTIME")
	for _, l := range loads {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2fs\n", l.Node, l.Image, outcomeText(l), sizeText(l.Bytes), l.Took.Seconds())
	}
	return w.Flush()
}

func outcomeText(l model.NodeLoad) string {
	if l.Outcome == model.LoadSent {
		return fmt.Sprintf("%d of %d layers sent", l.Layers, l.AllLayers)
	}
	return string(l.Outcome)
}

func sizeText(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
