package docker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/docker/cli/cli/config/types"

	"github.com/berth-dev/berth/infra/problem"
)

// PullSecret is what the Docker config has of credentials for registries, in
// the form of a Secret of type kubernetes.io/dockerconfigjson, and for which of
// the registries that is: nil and none when for none of them.
func PullSecret(registries []string) (secret []byte, found []string, err error) {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	auths := map[string]entry{}
	for _, registry := range slices.Compact(slices.Sorted(slices.Values(registries))) {
		auth, err := credentials(registry)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case auth.Password != "":
			auths[configKey(registry)] = entry{auth.Username, auth.Password, base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password))}
			found = append(found, registry)
		case auth.IdentityToken != "" || auth.RegistryToken != "":
			return nil, nil, problem.New(fmt.Sprintf("credentials for %s in the Docker config", registry), errors.New("they are a token, which nodes cannot pull with"),
				"`kubectl create secret docker-registry` with a user and a password or access token, and name it in x-berth.imagePullSecrets")
		}
	}
	if len(found) == 0 {
		return nil, nil, nil
	}
	secret, err = json.Marshal(map[string]any{"auths": auths})
	return secret, found, err
}

// credentials are the user's for a registry, zero when there are none.
func credentials(registry string) (types.AuthConfig, error) {
	auth, err := UserConfig().GetAuthConfig(configKey(registry))
	if err != nil {
		return auth, problem.New(fmt.Sprintf("credentials for %s in the Docker config", registry), err, credentialsHint)
	}
	return auth, nil
}

// configKey is what the Docker config calls a registry.
func configKey(registry string) string {
	if registry == "docker.io" {
		return hubKey
	}
	return registry
}
