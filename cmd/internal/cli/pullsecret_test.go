package cli

import (
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/translate"
)

func TestPullSecretIsForTheRegistriesThatNodesPullFrom(t *testing.T) {
	images := []translate.Image{
		{Ref: "redis"}, {Ref: "ghcr.io/team/web:1"}, {Ref: "local.example:5000/built", Build: &types.BuildConfig{}},
	}
	hosts, err := pullHosts(images, image.Registry{Prefix: "registry.example:5000/team"})
	if want := []string{"registry.example:5000", "docker.io", "ghcr.io"}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("hosts are %v, want %v (%v)", hosts, want, err)
	}
}
