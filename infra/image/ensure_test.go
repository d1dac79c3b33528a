package image

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/infra/docker"
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

func TestAnImageFitsThePlatformThatIsAskedFor(t *testing.T) {
	arm := docker.Image{Facts: model.ImageFacts{OS: "linux", Arch: "arm64"}}
	v8 := docker.Image{Facts: arm.Facts, Variant: "v8"}
	for _, img := range []docker.Image{arm, v8} {
		for platform, want := range map[string]bool{"": true, "linux/arm64": true, "linux/arm64/v8": true, "linux/amd64": false, "linux/a/b/c": false} {
			if got := platformFits(img, platform); got != want {
				t.Errorf("%s for %q: %t", img.Platform(), platform, got)
			}
		}
	}
}
