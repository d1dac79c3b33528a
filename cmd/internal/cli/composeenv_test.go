package cli

import (
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/infra/problem"
)

func TestParallelLimitOfTheEnvironment(t *testing.T) {
	for text, want := range map[string]int{"": 0, "2": 2, "-1": 0} {
		got, err := parallelLimit(&types.Project{Environment: types.Mapping{"COMPOSE_PARALLEL_LIMIT": text}})
		if got != want || err != nil {
			t.Errorf("%q: %d, want %d (%v)", text, got, want, err)
		}
	}
	if _, err := parallelLimit(&types.Project{Environment: types.Mapping{"COMPOSE_PARALLEL_LIMIT": "many"}}); err == nil || problem.Hint(err) == "" {
		t.Errorf("error is %v", err)
	}
}

func TestDefaultPlatformIsOneThatAllNodesRun(t *testing.T) {
	any, own := types.ServiceConfig{Name: "web"}, types.ServiceConfig{Name: "web"}
	own.Platform = "linux/arm64"
	for _, c := range []struct {
		name, asked string
		service     types.ServiceConfig
		nodes       []string
		want        string // of the error, "" for none
	}{
		{"the nodes' own", "linux/amd64", any, []string{"linux/amd64"}, ""},
		{"nobody says", "", any, []string{"linux/amd64"}, ""},
		{"a variant", "linux/arm64/v8", any, []string{"linux/arm64"}, ""},
		{"another", "linux/amd64", any, []string{"linux/arm64"}, "DOCKER_DEFAULT_PLATFORM=linux/amd64: the cluster has nodes that run no such image, but those for linux/arm64"},
		{"some nodes'", "linux/amd64", any, []string{"linux/amd64", "linux/arm64"}, "those for linux/arm64"},
		{"services that all have their own", "linux/amd64", own, []string{"linux/arm64"}, ""},
		{"nodes that may not be listed", "linux/amd64", any, nil, ""},
		{"no platform", "linux/no/such/thing", any, []string{"linux/amd64"}, "linux/no/such/thing"},
	} {
		p := &types.Project{Services: types.Services{"web": c.service}, Environment: types.Mapping{"DOCKER_DEFAULT_PLATFORM": c.asked}}
		err := defaultPlatformFits(p, c.nodes)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || problem.Hint(err) == "") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
