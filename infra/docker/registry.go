package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"

	"github.com/berth-dev/berth/infra/problem"
)

// hubKey is what the Docker config calls Docker Hub.
const hubKey = "https://index.docker.io/v1/"

// LayerProgress is how far a pull or a push has come with one layer.
type LayerProgress struct {
	ID             string // short layer ID; "" for lines about the whole image
	Status         string // Downloading, Extracting, Pull complete ...
	Current, Total int64  // bytes; 0 when the engine does not say
}

// UserConfig is the user's Docker configuration: credentials and proxies.
func UserConfig() *configfile.ConfigFile { return config.LoadDefaultConfigFile(io.Discard) }

// PullImage has the engine fetch an image, with the user's credentials for its
// registry. platform "" is the engine's own.
func (c *Client) PullImage(ctx context.Context, ref, platform string, report func(LayerProgress)) error {
	auth, err := registryAuth(ref)
	if err != nil {
		return err
	}
	r, err := c.api.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth, Platform: platform})
	if err != nil {
		return fmt.Errorf("pull image %q: %w", ref, err)
	}
	if err := followStream(ctx, r, report); err != nil {
		return fmt.Errorf("pull image %q: %w", ref, err)
	}
	return nil
}

// AskRegistry has the engine ask the image's registry for its manifest, with
// the user's credentials; nothing is fetched. Nil means that it is there.
func (c *Client) AskRegistry(ctx context.Context, ref string) error {
	auth, err := registryAuth(ref)
	if err != nil {
		return err
	}
	_, err = c.api.DistributionInspect(ctx, ref, auth)
	return err
}

// PushImage has the engine send an image to its registry, with the user's
// credentials.
func (c *Client) PushImage(ctx context.Context, ref string, report func(LayerProgress)) error {
	auth, err := registryAuth(ref)
	if err != nil {
		return err
	}
	r, err := c.api.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	return followStream(ctx, r, report)
}

// followStream reads the engine's progress messages to their end. An error in
// the stream is the result of the operation.
func followStream(ctx context.Context, r io.ReadCloser, report func(LayerProgress)) error {
	defer r.Close()
	for decoder := json.NewDecoder(r); ; {
		var m jsonmessage.JSONMessage
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return ctx.Err()
		} else if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		if m.Error != nil {
			return m.Error
		}
		p := LayerProgress{ID: m.ID, Status: m.Status}
		if m.Progress != nil {
			p.Current, p.Total = m.Progress.Current, m.Progress.Total
		}
		report(p)
	}
}

// credentialsHint helps where the config names a helper that is not there: that
// of a Docker that was removed, say.
const credentialsHint = "install the credential helper that it names (credsStore, credHelpers), or take it out and `docker login` again"

// registryAuth is the header with the user's credentials for ref's registry.
func registryAuth(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", problem.New(fmt.Sprintf("image name %q", ref), err, "write [HOST/]NAME[:TAG], the name in lower case")
	}
	auth, err := credentials(reference.Domain(named))
	if err != nil {
		return "", err
	}
	return registry.EncodeAuthConfig(registryConfig(auth))
}

// registryConfig is the API's form of the Docker config's credentials.
func registryConfig(a types.AuthConfig) registry.AuthConfig {
	return registry.AuthConfig{
		Username: a.Username, Password: a.Password, Auth: a.Auth, ServerAddress: a.ServerAddress,
		IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
	}
}
