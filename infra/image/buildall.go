package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/progress"
)

// BuildLimit is how many images are built at once when nobody says otherwise.
const BuildLimit = 3

// BuildAll builds several images, at most limit at once (0 for BuildLimit),
// and returns their facts by spec.Name. An image that is an additional context
// of another (docker-image://NAME) is built before it. A failure does not stop
// builds that do not need the failed one; all failures are returned.
func (i *Images) BuildAll(ctx context.Context, specs []model.BuildSpec, limit int, sink progress.Sink) (map[string]model.ImageFacts, error) {
	if limit <= 0 {
		limit = BuildLimit
	}
	needs, err := buildOrder(specs)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	facts := map[string]model.ImageFacts{}
	failed := map[int]error{}
	done := make([]chan struct{}, len(specs))
	for n := range specs {
		done[n] = make(chan struct{})
	}
	slots := make(chan struct{}, limit)
	var running sync.WaitGroup
	for n, spec := range specs {
		running.Go(func() {
			defer close(done[n])
			for _, needed := range needs[n] {
				<-done[needed] // each ends, also when ctx does
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			mu.Lock()
			resolved, err := resolveBuilt(spec, specs, needs[n], facts, failed)
			mu.Unlock()
			var f model.ImageFacts
			if err != nil {
				progress.Say(sink, progress.Skipped, "build "+shortName(spec), err.Error())
			} else {
				f, err = i.Build(ctx, resolved, sink)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[n] = err
			} else {
				facts[spec.Name] = f
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return facts, context.Cause(ctx)
	}
	var errs []error
	for n := range specs {
		var skipped *skippedError
		if err := failed[n]; err != nil && !errors.As(err, &skipped) {
			errs = append(errs, err)
		}
	}
	return facts, errors.Join(errs...)
}

// A skippedError is a build that was not tried, because one it needs failed.
type skippedError struct{ needed string }

func (e *skippedError) Error() string { return fmt.Sprintf("the build of %q failed", e.needed) }

// resolveBuilt puts the content tags of images that were just built in the
// place of their names.
func resolveBuilt(spec model.BuildSpec, specs []model.BuildSpec, needs []int, facts map[string]model.ImageFacts, failed map[int]error) (model.BuildSpec, error) {
	contexts := maps.Clone(spec.AdditionalContexts)
	for _, n := range needs {
		if failed[n] != nil {
			return spec, &skippedError{shortName(specs[n])}
		}
		full, err := FullName(facts[specs[n].Name].Ref)
		if err != nil {
			return spec, err
		}
		for name, value := range contexts {
			if providerOf(specs, value) == n {
				contexts[name] = imageContext + full
			}
		}
	}
	spec.AdditionalContexts = contexts
	return spec, nil
}

// imageContext begins an additional context that is an image.
const imageContext = "docker-image://"

// buildOrder lists for each spec the specs that must be built before it.
func buildOrder(specs []model.BuildSpec) ([][]int, error) {
	needs := make([][]int, len(specs))
	for n, spec := range specs {
		for _, value := range spec.AdditionalContexts {
			if p := providerOf(specs, value); p >= 0 {
				needs[n] = append(needs[n], p)
			}
		}
		slices.Sort(needs[n])
	}
	for n := range specs {
		if at := cycleFrom(n, needs, nil); at != nil {
			var names []string
			for _, k := range at {
				names = append(names, shortName(specs[k]))
			}
			return nil, fmt.Errorf("builds need each other through additional_contexts: %s", strings.Join(names, " -> "))
		}
	}
	return needs, nil
}

// cycleFrom follows needs from n and returns the path once it bites its tail.
func cycleFrom(n int, needs [][]int, path []int) []int {
	if slices.Contains(path, n) {
		return append(path, n)
	}
	for _, next := range needs[n] {
		if found := cycleFrom(next, needs, append(slices.Clone(path), n)); found != nil {
			return found
		}
	}
	return nil
}

// providerOf finds the spec that builds the image which an additional context
// names, or -1.
func providerOf(specs []model.BuildSpec, value string) int {
	name, ok := strings.CutPrefix(value, imageContext)
	if !ok {
		return -1
	}
	full, err := FullName(name)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(specs, func(s model.BuildSpec) bool {
		built, err := FullName(s.Name)
		return err == nil && built == full
	})
}
