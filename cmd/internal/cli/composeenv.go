package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/translate"
)

// parallelKey is docker compose's variable for how much is done at once.
const parallelKey = "COMPOSE_PARALLEL_LIMIT"

// parallelLimit is how many images the project's environment lets be built, pulled
// and loaded at once; 0 when it does not say.
func parallelLimit(p *types.Project) (int, error) {
	text := p.Environment[parallelKey]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, problem.New(fmt.Sprintf("%s=%s", parallelKey, text), fmt.Errorf("it is not a whole number"), "set it to how many images may be built or pulled at once, -1 for no limit")
	}
	return max(n, 0), nil
}

// ownPlatformFits is defaultPlatformFits for nodes that are containers of the engine.
func ownPlatformFits(ctx context.Context, engine *docker.Client, p *types.Project) error {
	if p.Environment[translate.DefaultPlatformKey] == "" {
		return nil
	}
	arch, err := engine.Arch(ctx)
	if err != nil {
		return err
	}
	return defaultPlatformFits(p, []string{"linux/" + arch})
}

// defaultPlatformFits returns an error where services without a platform of their
// own would get images by DOCKER_DEFAULT_PLATFORM that not all nodes can run:
// pods go to any of them, and containerd starts no image of another platform.
func defaultPlatformFits(p *types.Project, nodes []string) error {
	asked := p.Environment[translate.DefaultPlatformKey]
	if asked == "" || !slices.ContainsFunc(p.ServiceNames(), func(name string) bool { return p.Services[name].Platform == "" }) {
		return nil
	}
	var others []string
	for _, node := range nodes {
		runs, err := image.RunsOn(asked, node)
		if err != nil {
			return problem.New(fmt.Sprintf("%s=%s", translate.DefaultPlatformKey, asked), err, "write OS/ARCH, for example linux/amd64")
		}
		if !runs {
			others = append(others, node)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return problem.New(fmt.Sprintf("%s=%s", translate.DefaultPlatformKey, asked), fmt.Errorf("the cluster has nodes that run no such image, but those for %s", strings.Join(others, ", ")),
		fmt.Sprintf("run the command with `%s=` before it, or give the services that need one a `platform`", translate.DefaultPlatformKey))
}
