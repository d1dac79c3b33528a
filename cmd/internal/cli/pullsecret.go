package cli

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// pullSecret is what the nodes of --context's cluster pull with where the user
// asks for it by --pull-secret: the credentials of the Docker config for the
// registries that the project's images come from, and for no others.
func (app *App) pullSecret(in translate.Input, target translate.Target, registry image.Registry) ([]byte, error) {
	if !app.global.pullSecret {
		return nil, nil
	}
	project, err := translate.Translate(in, target)
	if err != nil {
		return nil, err
	}
	hosts, err := pullHosts(project.Images, registry)
	if err != nil {
		return nil, err
	}
	secret, found, err := docker.PullSecret(hosts)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, problem.New("--pull-secret", fmt.Errorf("the Docker config has no credentials for %s", strings.Join(hosts, ", ")),
			"docker login, or leave it out for registries that ask for none")
	}
	progress.Say(app.sink(), progress.Note, "pull secret", fmt.Sprintf("your credentials for %s go into the Secret %q of namespace %q, where whoever may read Secrets can read them",
		strings.Join(found, ", "), translate.PullSecretName, project.Namespace))
	return secret, nil
}

// pullHosts are the registries that nodes get images from: registry, if there is
// one, and those of the images that are not built.
func pullHosts(images []translate.Image, registry image.Registry) ([]string, error) {
	var hosts []string
	if registry.Prefix != "" {
		host, _, _ := strings.Cut(registry.Prefix, "/")
		hosts = append(hosts, host)
	}
	for _, img := range images {
		if img.Build != nil {
			continue
		}
		host, err := image.RegistryOf(img.Ref)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
