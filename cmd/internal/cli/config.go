package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/translate/composefile"
)

type configOptions struct {
	services, volumes, networks, images, profiles, environment, quiet bool

	hash   string
	format string
	output string
}

func newConfigCommand(app *App) *cobra.Command {
	var opts configOptions
	cmd := &cobra.Command{
		Use:               "config [SERVICE...]",
		Short:             "Print the compose project as berth reads it: merged, interpolated, complete",
		ValidArgsFunction: app.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.format != "yaml" && opts.format != "json" {
				return misuse(fmt.Sprintf("unknown --format %q", opts.format), nil, "use yaml or json")
			}
			text, err := app.config(cmd.Context(), args, opts)
			if err != nil {
				return err
			}
			app.settle()
			if opts.output != "" {
				return app.writeFile(opts.output, text)
			}
			_, err = app.Out.Write(text)
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&opts.services, "services", false, "print the names of the services, one a line")
	flags.BoolVar(&opts.volumes, "volumes", false, "print the names of the volumes")
	flags.BoolVar(&opts.networks, "networks", false, "print the names of the networks")
	flags.BoolVar(&opts.images, "images", false, "print the images that the services run")
	flags.BoolVar(&opts.profiles, "profiles", false, "print the profiles that the project has")
	flags.BoolVar(&opts.environment, "environment", false, "print the variables that the compose file may use")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "print nothing, only check the project")
	flags.StringVar(&opts.hash, "hash", "", "print the hash of a `SERVICE`'s configuration; * for all")
	flags.StringVar(&opts.format, "format", "yaml", "`form` of the project: yaml or json")
	flags.StringVarP(&opts.output, "output", "o", "", "write to a `FILE` instead of standard output")
	cmd.MarkFlagsMutuallyExclusive("services", "volumes", "networks", "images", "profiles", "environment", "quiet", "hash")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed("yaml", "json"))
	return cmd
}

// config returns what the options ask for of the project.
func (app *App) config(ctx context.Context, services []string, opts configOptions) ([]byte, error) {
	input, _, err := app.project(ctx, services)
	if err != nil {
		return nil, err
	}
	p := input.Project
	if len(services) > 0 {
		if p, err = p.WithSelectedServices(services); err != nil {
			return nil, err
		}
	}
	switch {
	case opts.quiet:
		return nil, nil
	case opts.services:
		return lines(p.ServiceNames()), nil
	case opts.volumes:
		return lines(p.VolumeNames()), nil
	case opts.networks:
		return lines(p.NetworkNames()), nil
	case opts.images:
		return imageNames(p), nil
	case opts.profiles:
		return profileNames(p), nil
	case opts.environment:
		return lines(p.Environment.Values()), nil
	case opts.hash != "":
		return hashes(p, opts.hash)
	}
	return composefile.Marshal(p, opts.format)
}

// lines joins names, one a line.
func lines(names []string) []byte {
	if len(names) == 0 {
		return nil
	}
	return []byte(strings.Join(names, "\n") + "\n")
}

// imageNames lists the images of the services, as `translate` names them.
func imageNames(p *types.Project) []byte {
	var names []string
	for _, name := range p.ServiceNames() {
		s := p.Services[name]
		switch {
		case s.Image != "":
			names = append(names, s.Image)
		case s.Build != nil:
			names = append(names, p.Name+"-"+name)
		}
	}
	slices.Sort(names)
	return lines(slices.Compact(names))
}

func profileNames(p *types.Project) []byte {
	names := map[string]bool{}
	for _, s := range p.AllServices() {
		for _, name := range s.Profiles {
			names[name] = true
		}
	}
	return lines(slices.Sorted(maps.Keys(names)))
}

// hashes prints "service hash" lines. What changes no container (how many,
// built from what, in which order) does not count.
func hashes(p *types.Project, service string) ([]byte, error) {
	names := p.ServiceNames()
	if service != "*" {
		if _, ok := p.Services[service]; !ok {
			return nil, unknownService(service, names)
		}
		names = []string{service}
	}
	var b bytes.Buffer
	for _, name := range names {
		s := p.Services[name]
		s.Build, s.PullPolicy, s.Scale, s.DependsOn, s.Profiles = nil, "", nil, nil, nil
		if s.Deploy != nil {
			deploy := *s.Deploy
			deploy.Replicas = nil
			s.Deploy = &deploy
		}
		text, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		fmt.Fprintf(&b, "%s %s\n", name, hex.EncodeToString(sum[:]))
	}
	return b.Bytes(), nil
}
