package cli

import (
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestChosenServices(t *testing.T) {
	p := &types.Project{Services: types.Services{
		"web":   {Name: "web", WorkloadSpec: types.WorkloadSpec{DependsOn: types.DependsOnConfig{"db": {Condition: types.ServiceConditionStarted, Required: true}}}},
		"db":    {Name: "db"},
		"other": {Name: "other"},
	}}
	for name, test := range map[string]struct {
		named []string
		deps  bool
		want  []string
	}{
		"none named is all": {nil, false, []string{"db", "other", "web"}},
		"named alone":       {[]string{"web"}, false, []string{"web"}},
		"with dependencies": {[]string{"web"}, true, []string{"db", "web"}},
	} {
		got, err := chosenServices(p, test.named, test.deps)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
