package image

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

func TestWhatWasPulledLongAgoIsPulledAgain(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		policy model.PullPolicy
		since  time.Time
		want   bool
	}{
		{model.PullMissing, time.Time{}, false},
		{model.PullNever, time.Time{}, false},
		{model.PullAlways, now, true},
		{model.PullEvery(24 * time.Hour), now.Add(-23 * time.Hour), false},
		{model.PullEvery(24 * time.Hour), now.Add(-25 * time.Hour), true},
		{model.PullEvery(24 * time.Hour), time.Time{}, true}, // an engine with a graph driver does not know
	} {
		if got := pullsAgain(c.policy, c.since, now); got != c.want {
			t.Errorf("%s, since %s: %t", c.policy, c.since, got)
		}
	}
}
