package cli

import (
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestPullAsksTheRegistryUnlessThePolicyForbidsIt(t *testing.T) {
	for _, c := range []struct {
		policy, asked string
		want          model.PullPolicy // "" for not at all
	}{
		{"", "", model.PullAlways},
		{"daily", "", model.PullAlways},
		{"missing", "", model.PullMissing},
		{"if_not_present", "", model.PullMissing},
		{"never", "", ""},
		{"build", "", ""},
		{"never", "always", model.PullAlways},
		{"always", "missing", model.PullMissing},
	} {
		when, pulls := pullsWhen(c.policy, c.asked)
		if !pulls {
			when = ""
		}
		if when != c.want {
			t.Errorf("pull_policy %q, --policy %q: %q, want %q", c.policy, c.asked, when, c.want)
		}
	}
}
