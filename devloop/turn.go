package devloop

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// A turn is one execution of one plan. Its methods are called by the actions'
// goroutines.
type turn struct {
	deps Deps
	want Want
	have Have

	mu       sync.Mutex
	facts    map[string]model.ImageFacts // by translate.Image.Ref
	result   translate.Result            // of facts
	current  bool                        // result is the translation of facts
	changes  model.ChangeSet
	applied  map[string]bool // services that were applied or restarted
	replaced map[string]bool // those whose workload an apply updated, or that were restarted
	loads    []model.NodeLoad
	ports    []model.PublishedPort
	steps    map[stepKey]time.Duration
	loaded   []string                    // ImageFacts.Ref of images that every node has now
	how      map[string]string           // by service, how its new image came to its pods
	synced   map[string][]model.PodState // by service, those whose containers have the whole ledger now
	missed   map[string][]model.PodState // by service, those that were left out: their node does not answer
	starts   map[string]int              // how often the programs of containers had been started after this turn had it done
	late     time.Time                   // when its waits are given up; zero before the first

	work   map[string]SyncWork
	output func(service, line string) // of commands the rules run
	warn   func(service, text string)
	said   map[string]bool // warnings

	measuring sync.Mutex // one installs the metrics server, the others find it

	sharedMu sync.Mutex
	shared   map[model.ObjectKey]string // what was applied of what belongs to no single service, as hashes
	names    []model.Name               // the DNS knows, when shared is not empty
}

// stepKey names the time that a verb took for an image or a service.
type stepKey struct {
	verb    Verb
	subject string
}

func newTurn(deps Deps, want Want, have Have, dirty Dirty) *turn {
	t := &turn{
		deps: deps, want: want, have: have, facts: maps.Clone(have.Facts), result: want.Result, current: len(have.Facts) == 0,
		applied: map[string]bool{}, replaced: map[string]bool{}, shared: map[model.ObjectKey]string{}, steps: map[stepKey]time.Duration{},
		how: map[string]string{}, synced: map[string][]model.PodState{}, missed: map[string][]model.PodState{}, starts: map[string]int{}, work: dirty.Sync, output: func(string, string) {},
		warn: func(string, string) {}, said: map[string]bool{},
	}
	if t.facts == nil {
		t.facts = map[string]model.ImageFacts{}
	}
	return t
}

// do executes one action.
func (t *turn) do(ctx context.Context, a Action) error {
	start := t.deps.Clock.Now()
	err := t.act(ctx, a)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps[stepKey{a.Verb, a.Image + a.Service}] += t.deps.Clock.Now().Sub(start)
	return err
}

// took is how long a verb has taken so far for an image or a service.
func (t *turn) took(verb Verb, subject string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.steps[stepKey{verb, subject}]
}

func (t *turn) act(ctx context.Context, a Action) error {
	switch a.Verb {
	case Build, Pull:
		return t.acquire(ctx, a)
	case Load:
		return t.load(ctx, a.Image)
	case Apply:
		return t.apply(ctx, a)
	case Wait:
		return t.wait(ctx, a)
	case Restart:
		return t.restart(ctx, a.Service)
	case Sync:
		return t.sync(ctx, a.Service)
	case Rerun:
		return t.rerun(ctx, a.Service)
	case Exec:
		return t.exec(ctx, a.Service)
	case Publish:
		return t.publish(ctx)
	case Prune:
		return t.prune(ctx)
	}
	return fmt.Errorf("no such action: %s", a)
}

// acquire builds or pulls an image and remembers what is known of it.
func (t *turn) acquire(ctx context.Context, a Action) error {
	i := slices.IndexFunc(t.want.Result.Images, func(img translate.Image) bool { return img.Ref == a.Image })
	img := t.want.Result.Images[i]
	facts, err := t.buildOrPull(ctx, a.Verb, img)
	if err == nil && img.Users && facts.ID != "" { // else the engine has it not
		err = t.deps.Images.AddUsers(ctx, &facts)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts[img.Ref] = facts
	t.current = false
	return nil
}

func (t *turn) buildOrPull(ctx context.Context, verb Verb, img translate.Image) (model.ImageFacts, error) {
	if verb == Pull {
		policy, err := pullPolicy(img, t.want.Options)
		if err != nil {
			return model.ImageFacts{}, err
		}
		facts, err := t.deps.Images.Ensure(ctx, img.Ref, policy, img.Platform, t.sink(t.want.Options.QuietPull))
		if err == nil || img.Build == nil || t.want.Options.NoBuild || ctx.Err() != nil {
			return facts, err
		}
		progress.Say(t.deps.Sink, progress.Note, "", fmt.Sprintf("image %q is built, because it could not be pulled: %v", img.Ref, err))
	}
	t.mu.Lock()
	spec, err := BuildSpec(t.want.Input, img, t.want.Result.Images, t.facts)
	t.mu.Unlock()
	if err != nil {
		return model.ImageFacts{}, err
	}
	spec.Platforms = runPlatforms(img)
	spec.Provenance, spec.SBOM = "", "" // are for who pulls an image that `berth build` makes
	// A build a save would push all others out of the history, and to write a
	// record takes its time.
	_, spec.Unrecorded = t.have.Facts[img.Ref]
	return t.deps.Images.Build(ctx, spec, t.sink(t.want.Options.QuietBuild))
}

// sink is where work that may be kept quiet reports to.
func (t *turn) sink(quiet bool) progress.Sink {
	if quiet {
		return progress.Discard
	}
	return t.deps.Sink
}

func (t *turn) load(ctx context.Context, image string) error {
	t.mu.Lock()
	ref := t.facts[image].Ref
	t.mu.Unlock()
	loads, err := t.deps.Loader.Load(ctx, []string{ref}, t.deps.Sink)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loads = append(t.loads, loads...)
	if err == nil {
		t.loaded = append(t.loaded, ref)
	}
	return err
}

// translated returns the translation of all that is known of the images now.
func (t *turn) translated() (translate.Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current {
		return t.result, nil
	}
	result, err := t.translate(t.facts)
	if err != nil {
		return translate.Result{}, err
	}
	t.result, t.current = result, true
	return result, nil
}

func (t *turn) translate(facts map[string]model.ImageFacts) (translate.Result, error) {
	return t.deps.Translate(withFacts(t.want.Input, facts), t.deps.Target)
}

// withFacts returns in with what is known of its images.
func withFacts(in translate.Input, facts map[string]model.ImageFacts) translate.Input {
	in.Images = make(map[string]translate.ImageFacts, len(facts))
	for ref, f := range facts {
		in.Images[ref] = TranslateFacts(f)
	}
	return in
}

// apply applies what belongs to no single service, as far as it is not applied
// in this form yet, and then the objects of the service. Facts of an image may
// change the former: its ports, for example.
func (t *turn) apply(ctx context.Context, a Action) error {
	result, err := t.translated()
	if err != nil {
		return err
	}
	if err := t.refused(a, result); err != nil {
		return err
	}
	if err := t.applyShared(ctx, result, a.Service == ""); err != nil || a.Service == "" {
		return err
	}
	i := slices.IndexFunc(result.Services, func(s translate.Service) bool { return s.Name == a.Service })
	s := result.Services[i]
	t.mu.Lock()
	t.applied[s.Name] = true
	t.mu.Unlock()
	if err := t.swap(ctx, s); err != nil {
		return err
	}
	var changes model.ChangeSet
	if t.want.Options.NoStart {
		changes, err = t.deps.Applier.Create(ctx, objects(s.Objects), t.want.Options.ForceRecreate)
	} else {
		changes, err = t.deps.Applier.Apply(ctx, objects(s.Objects))
	}
	t.record(changes)
	if err != nil {
		return err
	}
	if replaces(changes, s) {
		t.mu.Lock()
		t.replaced[s.Name] = true
		t.mu.Unlock()
	}
	return t.measure(ctx, s)
}

// An otherThanWritten is why something is not applied: what would run is not what
// the project says, however often it is tried.
type otherThanWritten struct{ error }

// Unwrap returns the reason.
func (e otherThanWritten) Unwrap() error { return e.error }

// refused returns an error when the images show that what an action would apply
// is not what the user has.
func (t *turn) refused(a Action, result translate.Result) error {
	of := t.want
	of.Result, of.Select = result, map[string]bool{}
	for _, name := range t.want.about(a) {
		of.Select[name] = true
	}
	if err := of.blocked(); err != nil {
		return otherThanWritten{err}
	}
	return nil
}

// measure sees to it that an autoscaler of s has figures to read. A service
// whose pods cannot be counted that way serves nonetheless.
func (t *turn) measure(ctx context.Context, s translate.Service) error {
	scaled := slices.ContainsFunc(s.Objects, func(o translate.Object) bool { return keyOf(o).Kind == "HorizontalPodAutoscaler" })
	if t.deps.Metrics == nil || !scaled {
		return nil
	}
	t.measuring.Lock()
	defer t.measuring.Unlock()
	if err := t.deps.Metrics.Ensure(ctx, t.deps.Sink); err != nil {
		if ctx.Err() != nil {
			return err
		}
		text := fmt.Sprintf("x-berth.autoscale changes nothing, the number of its pods stays: %v", err)
		if hint := problem.Hint(err); hint != "" {
			text += "; " + hint
		}
		progress.Say(t.deps.Sink, progress.Warn, s.Name, text)
	}
	return nil
}

// swap gives the pods of a service that was built again their new image in
// place, where that is possible, and notes what was done.
func (t *turn) swap(ctx context.Context, s translate.Service) error {
	if !t.want.Follow || s.Kind != "Deployment" || !t.built(s) {
		return nil
	}
	i := slices.IndexFunc(s.Objects, func(o translate.Object) bool { return keyOf(o).Kind == s.Kind && o.GetName() == s.Workload })
	start := t.deps.Clock.Now()
	whyNot, err := t.deps.Applier.Swap(ctx, s.Objects[i])
	if err != nil && ctx.Err() == nil { // what it left behind, the rollout tidies up
		whyNot, err = err.Error(), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.how[s.Name] = "swapped in place"
	if whyNot != "" {
		t.how[s.Name] = "rolled out: " + whyNot
	} else {
		t.steps[stepKey{stepSwap, s.Name}] = t.deps.Clock.Now().Sub(start)
	}
	return err
}

// stepSwap is the part of an Apply that swaps images, in the waterfall.
const stepSwap Verb = "Swap"

// built reports whether this turn has built an image that s runs.
func (t *turn) built(s translate.Service) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, runs := t.have.Services[s.Name]
	for _, m := range t.want.podMembers(s.Name) {
		before, known := t.have.Facts[m.Image]
		if runs && known && before.Ref != t.facts[m.Image].Ref {
			return true
		}
	}
	return false
}

// applyShared applies what belongs to no single service and is not applied in
// this form yet. A turn over a few services has applied none of it and relies
// on an earlier one, so that only what differs from the translation of the
// facts of its beginning counts there.
func (t *turn) applyShared(ctx context.Context, result translate.Result, whole bool) error {
	t.sharedMu.Lock()
	defer t.sharedMu.Unlock()
	if len(t.shared) == 0 && !whole {
		before, err := t.translate(t.have.Facts)
		if err != nil {
			return err
		}
		for _, o := range before.Shared {
			t.shared[keyOf(o)] = hashOf(o)
		}
		t.names = names(before)
	}
	var list []model.Object
	for _, o := range result.Shared {
		if t.shared[keyOf(o)] != hashOf(o) {
			list = append(list, o)
		}
	}
	if len(list) > 0 {
		changes, err := t.deps.Applier.Apply(ctx, list)
		t.record(changes)
		if err != nil {
			return err
		}
	}
	if err := t.setNames(ctx, names(result), whole); err != nil {
		return err
	}
	for _, o := range list {
		t.shared[keyOf(o)] = hashOf(o)
	}
	return nil
}

// setNames makes the names known to the cluster's DNS, before a pod asks for
// one of them.
func (t *turn) setNames(ctx context.Context, want []model.Name, whole bool) error {
	if t.deps.Resolver == nil || (slices.Equal(t.names, want) && !whole) {
		return nil
	}
	if err := t.deps.Resolver.Set(ctx, want, t.deps.Sink); err != nil {
		return err
	}
	t.names = want
	return nil
}

func hashOf(o model.Object) string {
	data, err := json.Marshal(o)
	if err != nil {
		return "" // differs from everything, so the object is applied, which reports the fault
	}
	sum := sha256.Sum256(data)
	return string(sum[:])
}

// replaces reports whether changes give s new pods in place of old ones.
func replaces(changes model.ChangeSet, s translate.Service) bool {
	return slices.ContainsFunc(changes, func(c model.Change) bool {
		return c.Key.Kind == s.Kind && c.Key.Name == s.Workload && c.Verb == model.Updated
	})
}

// restart replaces the pods of a service, unless this turn has just done so.
func (t *turn) restart(ctx context.Context, service string) error {
	t.mu.Lock()
	done := t.replaced[service]
	t.replaced[service], t.applied[service] = true, true
	t.mu.Unlock()
	if done {
		return nil
	}
	return t.deps.Applier.Restart(ctx, service)
}

func (t *turn) wait(ctx context.Context, a Action) error {
	if d := t.want.Options.WaitTimeout; d > 0 {
		late := problem.New(fmt.Sprintf("wait for service %q", a.Service), fmt.Errorf("not %s within %s", a.Condition, d), "berth logs "+a.Service)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, t.waitUntil(d), late)
		defer cancel()
		err := t.deps.Applier.Wait(ctx, a.Service, a.Condition, t.deps.Sink)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return late
		}
		return err
	}
	return t.deps.Applier.Wait(ctx, a.Service, a.Condition, t.deps.Sink)
}

// waitUntil is when the waits of the turn are given up: d after the first began.
func (t *turn) waitUntil(d time.Duration) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.late.IsZero() {
		t.late = time.Now().Add(d)
	}
	return t.late
}

func (t *turn) publish(ctx context.Context) error {
	ports, err := t.deps.Publisher.Publish(ctx, t.want.ports(t.have), t.deps.Sink)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports = ports
	return err
}

func (t *turn) prune(ctx context.Context) error {
	result, err := t.translated()
	if err != nil {
		return err
	}
	var keep []model.ObjectKey
	for _, o := range result.Objects() {
		keep = append(keep, keyOf(o))
	}
	changes, err := t.deps.Applier.Prune(ctx, keep, t.want.keepServices(t.have))
	t.record(changes)
	return err
}

func (t *turn) record(changes model.ChangeSet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes = append(t.changes, changes...)
}
