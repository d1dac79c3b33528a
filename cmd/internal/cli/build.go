package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

type buildOptions struct {
	args    []string
	ssh     []string
	memory  string
	builder string

	provenance, sbom string

	check, print bool
	noCache      bool
	deps         bool
	push         bool
	pull         bool
	quiet        bool
	parallel     int
	format       string
}

func newBuildCommand(app *App) *cobra.Command {
	var opts buildOptions
	cmd := &cobra.Command{
		Use:   "build [SERVICE...]",
		Short: "Build the images of services",
		Long: `Build the images of services in the engine and print the tag that pods use of
each: the same content has the same tag.`,
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.valid(); err != nil {
				return err
			}
			p, err := app.projectImages(cmd.Context(), args, opts.deps)
			if err != nil {
				return err
			}
			specs, err := p.builds()
			if err != nil {
				return err
			}
			opts.apply(specs, app.Getenv)
			images, err := app.images(cmd.Context())
			if err != nil {
				return err
			}
			sink := app.sink()
			if opts.quiet {
				sink = progress.Discard
			}
			facts, err := images.BuildAll(cmd.Context(), specs, cmp.Or(opts.parallel, p.parallel), sink)
			if err == nil && opts.push {
				err = p.push(cmd.Context(), images, sink)
			}
			app.settle()
			return errors.Join(err, printBuilt(app.Out, facts, opts.format))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&opts.args, "build-arg", nil, "set a build `NAME=VALUE`; NAME alone takes the environment's; may be repeated")
	flags.StringArrayVar(&opts.ssh, "ssh", nil, "offer an agent or key to the builds: `default`, or ID=SOCKET or ID=KEYFILE; may be repeated")
	flags.StringVarP(&opts.memory, "memory", "m", "", "`limit` of a build: not possible here; says why")
	flags.BoolVar(&opts.noCache, "no-cache", false, "use no layer of an earlier build")
	flags.BoolVar(&opts.pull, "pull", false, "ask the registries for newer base images")
	flags.BoolVar(&opts.deps, "with-dependencies", false, "also build the images of what the named services depend on")
	flags.BoolVar(&opts.push, "push", false, "push the images to their registries when all are built")
	flags.StringVar(&opts.provenance, "provenance", "", "in place of build.provenance: true, false or `parameters` such as mode=max")
	flags.StringVar(&opts.sbom, "sbom", "", "in place of build.sbom: true, false or `parameters` such as generator=IMAGE")
	flags.StringVar(&opts.builder, "builder", "", "`name` of a builder: none but default, the engine's own; says why")
	flags.BoolVar(&opts.check, "check", false, "lint the Dockerfiles: not possible here; says why")
	flags.BoolVar(&opts.print, "print", false, "print a bake file: not possible here; says why")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "show no progress")
	flags.IntVar(&opts.parallel, "parallel", 0, "`number` of images to build at once (default: COMPOSE_PARALLEL_LIMIT, else 3)")
	addFormatFlag(cmd, &opts.format)
	return cmd
}

// valid refuses what no build can be given, and what docker compose has and berth
// has not.
func (o buildOptions) valid() error {
	switch {
	case o.builder != "" && o.builder != "default":
		return misuse("build --builder "+o.builder, errors.New("images are built by the BuildKit of the engine, which holds them then"), "leave it out; DOCKER_CONTEXT or DOCKER_HOST choose another engine")
	case o.check:
		return misuse("build --check", errors.New("berth does not lint Dockerfiles"), "docker build --check; a build says, too, what BuildKit warns of")
	case o.print:
		return misuse("build --print", errors.New("builds do not go through buildx bake"), "docker compose build --print")
	case o.memory != "":
		return misuse("build --memory", errors.New("BuildKit knows no limit for a build"), "limit the engine, or build fewer at once with --parallel")
	}
	for _, ssh := range o.ssh {
		if id, path, found := strings.Cut(ssh, "="); id == "" || found && path == "" {
			return misuse(fmt.Sprintf("--ssh %q", ssh), nil, "write default, ID=SOCKET or ID=KEYFILE")
		}
	}
	for _, arg := range o.args {
		if name, _, _ := strings.Cut(arg, "="); name == "" {
			return misuse(fmt.Sprintf("--build-arg %q", arg), nil, "write NAME=VALUE")
		}
	}
	return nil
}

// apply adds what the command line says to every build.
func (o buildOptions) apply(specs []model.BuildSpec, getenv func(string) string) {
	for n := range specs {
		for _, arg := range o.args {
			name, value, found := strings.Cut(arg, "=")
			if !found {
				value = getenv(name)
			}
			if specs[n].Args == nil {
				specs[n].Args = map[string]string{}
			}
			specs[n].Args[name] = value
		}
		for _, ssh := range o.ssh {
			id, path, _ := strings.Cut(ssh, "=")
			specs[n].SSH = slices.DeleteFunc(specs[n].SSH, func(s model.BuildSSH) bool { return s.ID == id })
			specs[n].SSH = append(specs[n].SSH, model.BuildSSH{ID: id, Path: path})
		}
		specs[n].NoCache = specs[n].NoCache || o.noCache
		specs[n].Pull = specs[n].Pull || o.pull
		specs[n].Provenance = cmp.Or(o.provenance, specs[n].Provenance)
		specs[n].SBOM = cmp.Or(o.sbom, specs[n].SBOM)
	}
}

// withoutAttestations are the builds of images that are to run, and not to be pushed.
func withoutAttestations(specs []model.BuildSpec) []model.BuildSpec {
	specs = slices.Clone(specs)
	for n := range specs {
		specs[n].Provenance, specs[n].SBOM = "", ""
	}
	return specs
}

type builtJSON struct {
	Image string `json:"image"`
	Tag   string `json:"tag"`
	ID    string `json:"id"`
}

func printBuilt(out io.Writer, facts map[string]model.ImageFacts, format string) error {
	names := slices.Sorted(maps.Keys(facts))
	if format == "json" {
		list := []builtJSON{}
		for _, name := range names {
			list = append(list, builtJSON{name, facts[name].Ref, facts[name].ID})
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(list)
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(out, facts[name].Ref); err != nil {
			return err
		}
	}
	return nil
}
