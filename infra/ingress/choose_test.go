package ingress

import (
	"context"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/docker"
)

// fakeEngine holds images by name, with their labels.
type fakeEngine map[string]map[string]string

func (f fakeEngine) ImageInfo(_ context.Context, ref string) (docker.ImageInfo, bool, error) {
	labels, found := f[ref]
	return docker.ImageInfo{Labels: labels}, found, nil
}

func TestChooseByWhatTheNodeImageHolds(t *testing.T) {
	engine := fakeEngine{
		"kindest/node:v1.37.0": nil,
		"kit":                  {addon.LabelImages: "registry.k8s.io/pause:3.10 docker.io/berth/traefik:v3.7.13"},
		"kit-both":             {addon.LabelImages: "docker.io/berth/traefik:v3.7.13 registry.k8s.io/ingress-nginx/controller:v1.15.1"},
		"kit-neither":          {addon.LabelImages: "registry.k8s.io/pause:3.10"},
	}
	for name, tc := range map[string]struct {
		want      Kind
		nodeImage string
		kind      Kind
		image     string
		err       string
	}{
		"kind's own node image":       {Auto, "kindest/node:v1.37.0", Nginx, nginxImage, ""},
		"an image not in the engine":  {Auto, "elsewhere/node:v1", Nginx, nginxImage, ""},
		"no wish is auto":             {"", "kindest/node:v1.37.0", Nginx, nginxImage, ""},
		"the kit":                     {Auto, "kit", Traefik, "docker.io/berth/traefik:v3.7.13", ""},
		"the kit with both":           {Auto, "kit-both", Nginx, nginxImage, ""},
		"the kit, traefik asked for":  {Traefik, "kit-both", Traefik, "docker.io/berth/traefik:v3.7.13", ""},
		"the kit without any":         {Auto, "kit-neither", None, "", ""},
		"none asked for":              {None, "kit", None, "", ""},
		"traefik asked for":           {Traefik, "kindest/node:v1.37.0", Traefik, traefikImage, ""},
		"what the kit does not hold":  {Nginx, "kit", "", "", "does not hold it"},
		"what does not exist":         {"haproxy", "kit", "", "", `unknown ingress controller "haproxy"`},
		"nginx asked for, none there": {Nginx, "kindest/node:v1.37.0", Nginx, nginxImage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Choose(t.Context(), engine, tc.want, tc.nodeImage)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != tc.kind || got.Image != tc.image {
				t.Errorf("got %s from %q, want %s from %q", got.Kind, got.Image, tc.kind, tc.image)
			}
			if got.Reason == "" {
				t.Error("a choice must come with its reason")
			}
		})
	}
}
