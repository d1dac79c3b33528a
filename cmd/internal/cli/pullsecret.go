package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// A pullSecret is what the nodes of --context's cluster pull with where the user
// asks for it by --pull-secret: the credentials of the Docker config for the
// registries that the project's images come from, and for no others. They are
// looked up again when the project comes to need others.
type pullSecret struct {
	registry  image.Registry
	translate func(translate.Input, translate.Target) (translate.Result, error)
	sink      progress.Sink

	mu     sync.Mutex
	hosts  []string // that the credentials were looked up for
	secret []byte
}

// withSecret translates for a cluster that gets the credentials.
func (p *pullSecret) withSecret(in translate.Input, target translate.Target) (translate.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	target.PullSecret = p.secret
	result, err := p.translate(in, target)
	if err != nil {
		return result, err
	}
	hosts, err := pullHosts(result.Images, p.registry)
	if err != nil || p.secret != nil && slices.Equal(hosts, p.hosts) {
		return result, err
	}
	if err := p.find(hosts, result.Namespace); err != nil {
		return result, err
	}
	target.PullSecret = p.secret
	return p.translate(in, target)
}

// find looks up the credentials for registries.
func (p *pullSecret) find(hosts []string, namespace string) error {
	secret, found, err := docker.PullSecret(hosts)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return problem.New("--pull-secret", fmt.Errorf("the Docker config has no credentials for %s", strings.Join(hosts, ", ")),
			"docker login, or leave it out for registries that ask for none")
	}
	if !bytes.Equal(secret, p.secret) {
		progress.Say(p.sink, progress.Note, "pull secret", fmt.Sprintf("your credentials for %s go into the Secret %q of namespace %q, where whoever may read Secrets can read them",
			strings.Join(found, ", "), translate.PullSecretName, namespace))
	}
	p.hosts, p.secret = hosts, secret
	return nil
}

// pullHosts are the registries that nodes get images from, sorted: registry, if
// there is one, and those of the images that are not built.
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
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}
