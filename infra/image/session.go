package image

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
)

// attachables are what BuildKit may ask this side for during a build:
// registry credentials, secrets, ssh.
func (i *Images) attachables(spec model.BuildSpec) ([]session.Attachable, error) {
	list := []session.Attachable{authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(docker.UserConfig()),
	})}
	if len(spec.Secrets) > 0 {
		store := secretStore{}
		for _, s := range spec.Secrets {
			read, err := secretSource(s)
			if err != nil {
				return nil, err
			}
			store[s.ID] = read
		}
		list = append(list, secretsprovider.NewSecretProvider(store))
	}
	if offered := agentsOf(spec); len(offered) > 0 {
		var agents []sshprovider.AgentConfig
		for _, s := range offered {
			a := sshprovider.AgentConfig{ID: s.ID}
			switch {
			case s.Path != "":
				a.Paths = []string{s.Path}
			case i.getenv("SSH_AUTH_SOCK") != "":
				a.Paths = []string{i.getenv("SSH_AUTH_SOCK")}
			}
			agents = append(agents, a)
		}
		ssh, err := sshprovider.NewSSHAgentProvider(agents)
		if err != nil {
			return nil, problem.New("build.ssh", err, "start an ssh agent and add the key, or name a key file")
		}
		list = append(list, ssh)
	}
	return list, nil
}

// secretStore holds how to read each secret; it is read when BuildKit asks.
type secretStore map[string]func() ([]byte, error)

func (s secretStore) GetSecret(_ context.Context, id string) ([]byte, error) {
	read, ok := s[id]
	if !ok {
		return nil, fmt.Errorf("secret %q: %w", id, secrets.ErrNotFound)
	}
	return read()
}

func secretSource(s model.BuildSecret) (func() ([]byte, error), error) {
	if s.File == "" {
		return func() ([]byte, error) { return []byte(s.Value), nil }, nil
	}
	info, err := os.Stat(s.File)
	if err != nil {
		return nil, problem.New(fmt.Sprintf("build secret %q", s.ID), err, "create the file, or change the secret in the compose file")
	}
	if info.Size() > secretsprovider.MaxSecretSize {
		return nil, fmt.Errorf("build secret %q: %q is larger than %d kB", s.ID, s.File, secretsprovider.MaxSecretSize>>10)
	}
	return func() ([]byte, error) { return os.ReadFile(s.File) }, nil
}
