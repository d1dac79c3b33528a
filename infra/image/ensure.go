package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// A Wanted is an image that is to be in the engine.
type Wanted struct {
	Ref      string
	Policy   model.PullPolicy
	Platform string // os/arch[/variant], "" for the engine's own
}

// Ensure sees to it that the engine holds an image, pulling it if the policy
// says so, and describes it.
func (i *Images) Ensure(ctx context.Context, w Wanted, sink progress.Sink) (model.ImageFacts, error) {
	facts, err := i.EnsureAll(ctx, []Wanted{w}, 1, sink)
	if err != nil {
		return model.ImageFacts{}, err
	}
	return facts[w.Ref], nil
}

// PullLimit is how many images are pulled at once when nobody says otherwise.
const PullLimit = 4

// EnsureAll is Ensure for several images, at most limit at once (0 for PullLimit).
// It returns their facts by Ref; those that cannot be had are reported all together.
func (i *Images) EnsureAll(ctx context.Context, list []Wanted, limit int, sink progress.Sink) (map[string]model.ImageFacts, error) {
	type outcome struct {
		facts model.ImageFacts
		err   error
	}
	outcomes := make([]outcome, len(list))
	inParallel(len(list), cmp.Or(limit, PullLimit), func(n int) {
		outcomes[n].facts, outcomes[n].err = i.ensure(ctx, list[n], sink)
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	facts := map[string]model.ImageFacts{}
	var missing []string
	var reasons, other []error
	for n, o := range outcomes {
		var absent *absentError
		switch {
		case o.err == nil:
			facts[list[n].Ref] = o.facts
		case errors.As(o.err, &absent):
			missing = append(missing, absent.ref)
			if !slices.ContainsFunc(reasons, func(said error) bool { return errors.Is(said, absent.err) }) {
				reasons = append(reasons, absent.err)
			}
		default:
			other = append(other, o.err)
		}
	}
	if len(missing) > 0 {
		other = append([]error{missingImages(missing, errors.Join(reasons...))}, other...)
	}
	return facts, errors.Join(other...)
}

// An absentError is an image that is not in the engine and cannot be pulled.
type absentError struct {
	ref string
	err error
}

func (e *absentError) Error() string { return fmt.Sprintf("image %q: %v", e.ref, e.err) }
func (e *absentError) Unwrap() error { return e.err }

// errNotPulled is why an image is absent that a policy forbids to pull.
var errNotPulled = errors.New("it is never to be pulled (pull_policy, --pull)")

// InRegistry reports whether the registry of the image's own name has it, as
// far as the engine can tell.
func (i *Images) InRegistry(ctx context.Context, ref string) bool {
	ctx, cancel := context.WithTimeout(ctx, registryAnswers)
	defer cancel()
	return i.engine.AskRegistry(ctx, ref) == nil
}

// registryAnswers is how long a registry may take to say whether it has an image.
const registryAnswers = 15 * time.Second

func (i *Images) ensure(ctx context.Context, w Wanted, sink progress.Sink) (model.ImageFacts, error) {
	img, found, err := i.engine.InspectImage(ctx, w.Ref)
	if err != nil {
		return model.ImageFacts{}, err
	}
	if found && !pullsAgain(w.Policy, img.Tagged, time.Now()) && platformFits(img, w.Platform) {
		return img.Facts, nil
	}
	if w.Policy == model.PullNever {
		return model.ImageFacts{}, &absentError{w.Ref, errNotPulled}
	}
	if err := i.pull(ctx, w, sink); err != nil {
		if found && ctx.Err() == nil && platformFits(img, w.Platform) {
			// As docker compose does: what is there is better than nothing.
			progress.Say(sink, progress.Warn, "pull "+w.Ref, fmt.Sprintf("cannot be pulled, using the image the engine has: %s", firstLine(err)))
			return img.Facts, nil
		}
		return model.ImageFacts{}, err
	}
	img, found, err = i.engine.InspectImage(ctx, w.Ref)
	if err == nil && !found {
		err = fmt.Errorf("the engine pulled image %q but does not have it", w.Ref)
	}
	return img.Facts, err
}

// pullsAgain reports whether an image that the engine has had since a time, zero
// where that is unknown, is to be pulled all the same.
func pullsAgain(policy model.PullPolicy, since, now time.Time) bool {
	if interval, timed := policy.Every(); timed {
		return now.Sub(since) > interval
	}
	return policy == model.PullAlways
}

// platformFits reports whether an image is for a platform; without a variant, any
// will do, and linux/arm64/v8 is linux/arm64.
func platformFits(img docker.Image, platform string) bool {
	if platform == "" || strings.HasPrefix(img.Platform(), platform+"/") {
		return true
	}
	asked, err := platforms.Parse(platform)
	if err != nil {
		return false // the pull says so
	}
	has, err := platforms.Parse(img.Platform())
	return err == nil && platforms.FormatAll(platforms.Normalize(asked)) == platforms.FormatAll(platforms.Normalize(has))
}

func (i *Images) pull(ctx context.Context, w Wanted, sink progress.Sink) error {
	task := progress.Start(sink, "pull "+w.Ref, "asking the registry")
	layers := newLayerProgress(task)
	err := i.engine.PullImage(ctx, w.Ref, w.Platform, layers.report)
	if err == nil {
		task.Done("")
		return nil
	}
	if ctx.Err() != nil {
		return task.End(context.Cause(ctx), "")
	}
	task.Fail(err)
	return &absentError{w.Ref, err}
}

// A layerProgress adds up what the engine reports of each layer.
type layerProgress struct {
	task           *progress.Task
	current, total map[string]int64
}

func newLayerProgress(task *progress.Task) *layerProgress {
	return &layerProgress{task: task, current: map[string]int64{}, total: map[string]int64{}}
}

func (l *layerProgress) report(p docker.LayerProgress) {
	if p.Total <= 0 {
		if p.ID == "" && p.Status != "" {
			l.task.Update(p.Status)
		}
		return
	}
	l.current[p.ID], l.total[p.ID] = p.Current, max(l.total[p.ID], p.Total)
	var current, total int64
	for id := range l.total {
		current += l.current[id]
		total += l.total[id]
	}
	l.task.Progress(current, total)
}
