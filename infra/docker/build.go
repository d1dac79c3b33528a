package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/docker/go-units"

	"github.com/berth-dev/berth/infra/problem"
)

// A ClassicBuild is a build by the engine's own builder, for engines without
// BuildKit.
type ClassicBuild struct {
	Context    io.Reader // tar; nil with Remote
	Remote     string    // URL of the context
	Dockerfile string    // path in the context
	Tags       []string
	Args       map[string]string
	Labels     map[string]string
	Target     string
	Platform   string
	Network    string
	ExtraHosts []string // host:ip
	CacheFrom  []string // image names
	ShmSize    int64
	Ulimits    []string // name=soft[:hard]
	NoCache    bool
	Pull       bool
}

// BuildClassic builds an image and returns its ID. Every line the builder
// prints goes to line.
func (c *Client) BuildClassic(ctx context.Context, b ClassicBuild, line func(string)) (string, error) {
	opts, err := b.options()
	if err != nil {
		return "", err
	}
	r, err := c.api.ImageBuild(ctx, b.Context, opts)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	id := ""
	for decoder := json.NewDecoder(r.Body); ; {
		var m jsonmessage.JSONMessage
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", errors.Join(ctx.Err(), err)
		}
		if m.Error != nil {
			return "", m.Error
		}
		if m.Aux != nil {
			var result build.Result
			if json.Unmarshal(*m.Aux, &result) == nil && result.ID != "" {
				id = result.ID
			}
		}
		for text := range strings.Lines(m.Stream) {
			line(strings.TrimRight(text, "\n"))
		}
	}
	if id == "" {
		return "", errors.New("the builder told no image ID")
	}
	return id, nil
}

func (b ClassicBuild) options() (build.ImageBuildOptions, error) {
	opts := build.ImageBuildOptions{
		Tags: b.Tags, RemoteContext: b.Remote, Dockerfile: b.Dockerfile, Labels: b.Labels, Target: b.Target,
		Platform: b.Platform, NetworkMode: b.Network, ExtraHosts: b.ExtraHosts, CacheFrom: b.CacheFrom,
		ShmSize: b.ShmSize, NoCache: b.NoCache, PullParent: b.Pull, Remove: true, ForceRemove: true,
		BuildArgs: map[string]*string{}, AuthConfigs: map[string]registry.AuthConfig{}, Version: build.BuilderV1,
	}
	for k, v := range b.Args {
		opts.BuildArgs[k] = &v
	}
	for _, text := range b.Ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return opts, fmt.Errorf("ulimit %q: %w", text, err)
		}
		opts.Ulimits = append(opts.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	all, err := UserConfig().GetAllCredentials()
	if err != nil {
		return opts, problem.New("credentials in the Docker config", err, credentialsHint)
	}
	for host, a := range all {
		opts.AuthConfigs[host] = registryConfig(a)
	}
	return opts, nil
}
