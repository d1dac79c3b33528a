package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/config"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/infra/image"
	"github.com/berth-dev/berth/translate"
)

func TestPullSecretIsForTheRegistriesThatNodesPullFrom(t *testing.T) {
	images := []translate.Image{
		{Ref: "redis"}, {Ref: "ghcr.io/team/web:1"}, {Ref: "local.example:5000/built", Build: &types.BuildConfig{}},
	}
	hosts, err := pullHosts(images, image.Registry{Prefix: "registry.example:5000/team"})
	if want := []string{"docker.io", "ghcr.io", "registry.example:5000"}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("hosts are %v, want %v (%v)", hosts, want, err)
	}
}

// The compose file changes while dev runs.
func TestPullSecretFollowsTheRegistriesOfTheProject(t *testing.T) {
	dir, before := t.TempDir(), config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(before) })
	credentials := `{"auths":{"one.example":{"auth":"dTpw"},"two.example":{"auth":"dTpw"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	project := func(image string) translate.Input {
		web := types.ServiceConfig{Name: "web", ContainerSpec: types.ContainerSpec{Image: image}}
		return translate.Input{Project: &types.Project{Name: "shop", Services: types.Services{"web": web}}}
	}
	var seen noted
	p := &pullSecret{translate: translate.Translate, sink: &seen}
	for _, host := range []string{"one.example", "two.example", "two.example", "one.example"} {
		r, err := p.withSecret(project(host+"/web:1"), translate.Target{Kind: translate.Portable})
		if err != nil {
			t.Fatal(err)
		}
		var text string
		for _, o := range r.Objects() {
			if secret, ok := o.(*corev1.Secret); ok {
				text += string(secret.Data[corev1.DockerConfigJsonKey])
			}
		}
		for _, other := range []string{"one.example", "two.example"} {
			if strings.Contains(text, other) != (other == host) {
				t.Errorf("with an image of %s the Secret is %q", host, text)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("said:\n%s", seen.text())
	}
	if _, err := p.withSecret(project("three.example/web:1"), translate.Target{Kind: translate.Portable}); err == nil || !strings.Contains(err.Error(), "no credentials for three.example") {
		t.Errorf("error is %v", err)
	}
}
