package image

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func TestADockerfileOfThisMachineWinsOverThatOfARemoteContext(t *testing.T) {
	dir := tree(t, map[string]string{"web.Dockerfile": "FROM scratch\n"})
	const remote = "https://example.invalid/shop.git#main"
	for name, c := range map[string]struct {
		spec      model.BuildSpec
		key, file string
	}{
		"inline":         {model.BuildSpec{Context: remote, DockerfileInline: "FROM scratch\n"}, localFile, "Dockerfile"},
		"absolute":       {model.BuildSpec{Context: remote, Dockerfile: filepath.Join(dir, "web.Dockerfile")}, localFile, "web.Dockerfile"},
		"of the context": {model.BuildSpec{Context: remote, Dockerfile: "web.Dockerfile"}, "", "web.Dockerfile"},
		"all local":      {model.BuildSpec{Context: dir, Dockerfile: "web.Dockerfile"}, "", "web.Dockerfile"},
	} {
		opt, err := solveOpt(c.spec, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if opt.FrontendAttrs["dockerfilekey"] != c.key || opt.FrontendAttrs["filename"] != c.file || c.key != "" && opt.LocalMounts[c.key] == nil {
			t.Errorf("%s: attributes are %v", name, opt.FrontendAttrs)
		}
	}
}

// What a command of a build cannot see: TestEveryBuildAttributeReachesTheBuild shows
// the others.
func TestSettingsInBuildKitsWords(t *testing.T) {
	dir := tree(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	for name, c := range map[string]struct {
		spec model.BuildSpec
		want map[string]string
	}{
		"defaults":        {model.BuildSpec{}, map[string]string{"image-resolve-mode": "local", "attest:provenance": "", "attest:sbom": ""}},
		"pull":            {model.BuildSpec{Pull: true}, map[string]string{"image-resolve-mode": "pull"}},
		"no_cache_filter": {model.BuildSpec{NoCacheFilter: []string{"base", "deps"}}, map[string]string{"no-cache": "base,deps"}},
		"attestations":    {model.BuildSpec{Provenance: "true", SBOM: "generator=scanner"}, map[string]string{"attest:provenance": "mode=min", "attest:sbom": "generator=scanner"}},
		"none of them":    {model.BuildSpec{Provenance: "false", SBOM: "false"}, map[string]string{"attest:provenance": "", "attest:sbom": ""}},
		"platforms":       {model.BuildSpec{Platforms: []string{"linux/amd64", "linux/arm64"}}, map[string]string{"platform": "linux/amd64,linux/arm64"}},
	} {
		c.spec.Context = dir
		opt, err := solveOpt(c.spec, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for key, want := range c.want {
			if got := opt.FrontendAttrs[key]; got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
	spec := model.BuildSpec{Context: dir, Privileged: true, Network: "host", Entitlements: []string{"device"}}
	opt, err := solveOpt(spec, nil)
	if want := []string{"device", "security.insecure", "network.host"}; err != nil || !slices.Equal(opt.AllowedEntitlements, want) {
		t.Errorf("rights are %v, want %v (%v)", opt.AllowedEntitlements, want, err)
	}
}

func TestContextsThatComeOverSSHAreOfferedTheAgent(t *testing.T) {
	named := []model.BuildSSH{{ID: "deploy", Path: "/key"}}
	for name, c := range map[string]struct {
		spec model.BuildSpec
		want string
	}{
		"a folder":              {model.BuildSpec{Context: "/src"}, ""},
		"over https":            {model.BuildSpec{Context: "https://example.invalid/shop.git"}, ""},
		"over ssh":              {model.BuildSpec{Context: "git@example.invalid:shop.git"}, "default"},
		"an additional context": {model.BuildSpec{Context: "/src", AdditionalContexts: map[string]string{"lib": "ssh://git@example.invalid/lib.git"}}, "default"},
		"with a key of its own": {model.BuildSpec{Context: "git@example.invalid:shop.git", SSH: named}, "deploy"},
	} {
		var ids []string
		for _, a := range agentsOf(c.spec) {
			ids = append(ids, a.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: offered %q, want %q", name, got, c.want)
		}
	}
}

func TestProxiesOfTheDockerConfigAreBuildArguments(t *testing.T) {
	proxy := "http://proxy.invalid:3128"
	spec := model.BuildSpec{Args: map[string]string{"WHO": "you", "NO_PROXY": "mine"}}
	got := withProxies(spec, map[string]*string{"HTTP_PROXY": &proxy, "http_proxy": &proxy, "NO_PROXY": &proxy}).Args
	if got["HTTP_PROXY"] != proxy || got["http_proxy"] != proxy || got["NO_PROXY"] != "mine" || got["WHO"] != "you" {
		t.Errorf("arguments are %v", got)
	}
	if len(spec.Args) != 2 {
		t.Errorf("the caller's arguments were changed: %v", spec.Args)
	}
}

func TestRightsThatTheEngineRefusesHaveACure(t *testing.T) {
	refused := errors.New("failed to solve: granting entitlement security.insecure is not allowed by build daemon configuration")
	err := buildProblem("web", newSteps(progress.Start(progress.Discard, "build web", "")), refused)
	if want := `{"builder": {"entitlements": {"security-insecure": true}}}`; !strings.Contains(problem.Hint(err), want) {
		t.Errorf("hint is %q", problem.Hint(err))
	}
}
