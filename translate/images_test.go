package translate_test

import (
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/berth-dev/berth/translate"
)

func TestServicesThatShareAnImageGetItByTheStrictestPolicy(t *testing.T) {
	build := &types.BuildConfig{Context: "/src"}
	for _, c := range []struct {
		name string
		want string
		a, b types.ServiceConfig
	}{
		{"always asks every time", "always", pulled("missing"), pulled("always")},
		{"a day is stricter than a week", "daily", pulled("weekly"), pulled("daily")},
		{"an interval is stricter than missing", "every_12h", pulled(""), pulled("every_12h")},
		{"what one must not pull, the other may", "missing", pulled("never"), pulled("missing")},
		{"a hook of the service's own image", "never", hooked("never"), pulled("never")},
		{"the service that builds decides", "", pulled("always"), built(build, "")},
		{"the strictest of those that build", "always", built(build, "build"), built(build, "always")},
	} {
		for _, order := range [][2]types.ServiceConfig{{c.a, c.b}, {c.b, c.a}} {
			services := types.Services{}
			for i, name := range []string{"one", "two"} {
				order[i].Name = name
				services[name] = order[i]
			}
			in := translate.Input{Project: &types.Project{Name: "p", Services: services}}
			r, err := translate.Translate(in, translate.Target{Kind: translate.Portable})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Images) != 1 || r.Images[0].PullPolicy != c.want {
				t.Errorf("%s: %+v, want pull_policy %q", c.name, r.Images, c.want)
			}
		}
	}
}

func pulled(policy string) types.ServiceConfig { return built(nil, policy) }

func built(build *types.BuildConfig, policy string) types.ServiceConfig {
	s := types.ServiceConfig{ContainerSpec: types.ContainerSpec{Image: "registry.example/web", PullPolicy: policy}}
	s.Build = build
	return s
}

func hooked(policy string) types.ServiceConfig {
	s := pulled(policy)
	s.PreStart = []types.PreStartHook{{ContainerSpec: types.ContainerSpec{Command: types.ShellCommand{"true"}}}}
	return s
}

func TestImagesWithoutAPlatformAreForThatOfTheEnvironment(t *testing.T) {
	own := pulled("")
	own.Name, own.Image, own.Platform = "own", "registry.example/own", "linux/arm64"
	other := pulled("")
	other.Name = "other"
	in := translate.Input{Project: &types.Project{
		Name: "p", Services: types.Services{"own": own, "other": other}, Environment: types.Mapping{translate.DefaultPlatformKey: "linux/amd64"},
	}}
	r, err := translate.Translate(in, translate.Target{Kind: translate.Portable})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"linux/arm64", "linux/amd64"} {
		if r.Images[i].Platform != want {
			t.Errorf("%s is for %q, want %q", r.Images[i].Ref, r.Images[i].Platform, want)
		}
	}
	for _, o := range r.Objects() {
		if d, ok := o.(*appsv1.Deployment); ok && d.Name == "other" && d.Spec.Template.Spec.NodeSelector != nil {
			t.Errorf("a variable about images selects nodes: %v", d.Spec.Template.Spec.NodeSelector)
		}
	}
}
