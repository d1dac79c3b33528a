package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// nextSuffix ends the name of a gateway that is to take the place of another.
const nextSuffix = "-next"

// Times of replacing a gateway.
const (
	stopGrace   = time.Second      // the forwarder ends at once
	cleanWithin = 20 * time.Second // what is done also after a Ctrl-C
	makeWithin  = 10 * time.Second // what takes another berth longer to make was left by one that was killed
	swapWithin  = 20 * time.Second // and to replace
)

// replace puts a new gateway in the place of one that runs. Both want ports of
// the host, so the old one stops before the new one starts; it starts again when
// the new one cannot.
func (p *Publisher) replace(ctx context.Context, old Gateway, spec Spec, cluster clusterFacts, slots []slot, agentHash string) error {
	next, err := p.prepare(ctx, spec, old.Name+nextSuffix, cluster, slots, agentHash)
	if err != nil {
		return err
	}
	err = p.engine.StopContainer(ctx, old.id, stopGrace)
	if docker.IsNotFound(err) {
		return errors.Join(replacedMeanwhile(err), p.discard(ctx, next.id))
	}
	if err == nil {
		p.awaitFree(ctx, old.slots)
		err = p.start(ctx, spec, next)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
	defer cancel()
	if err == nil {
		return p.succeed(clean, next.id, old)
	}
	return errors.Join(err, p.engine.RemoveContainer(clean, next.id), p.bringBack(clean, old))
}

// awaitFree gives the engine time to let go of a stopped gateway's ports. If it
// takes longer the start of the next one says so.
func (p *Publisher) awaitFree(ctx context.Context, slots []slot) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for slices.ContainsFunc(slots, func(s slot) bool { return !p.free(ctx, s) }) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// bringBack starts a gateway again that was stopped in vain.
func (p *Publisher) bringBack(ctx context.Context, old Gateway) error {
	for {
		err := p.engine.StartContainer(ctx, old.id)
		var taken *takenError
		switch {
		case err == nil:
			return nil
		case !errors.As(asTaken(err, old.slots), &taken):
			return problem.New(fmt.Sprintf("start the gateway %q again", old.Name), err, "docker start "+old.Name)
		}
		select { // the engine is still letting go of the ports
		case <-ctx.Done():
			return problem.New(fmt.Sprintf("start the gateway %q again", old.Name), err, "docker start "+old.Name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// succeed ends the old gateway and gives its name to the new one.
func (p *Publisher) succeed(ctx context.Context, next string, old Gateway) error {
	if err := p.engine.RemoveContainer(ctx, old.id); err != nil {
		return problem.New(fmt.Sprintf("remove the gateway %q of project %q", old.Name, old.Project), err, "docker rm -f "+old.Name)
	}
	old.slots = nil // they are the new one's
	if err := p.gone(ctx, old); err != nil {
		return err
	}
	return p.engine.RenameContainer(ctx, next, old.Name)
}

// settled returns the gateway of a project, nil if there is none, when no berth
// is making or replacing it. What one that was killed left is put right.
func (p *Publisher) settled(ctx context.Context, cluster, project string, task *progress.Task) (*Gateway, error) {
	for {
		all, err := p.ofProject(ctx, cluster, project)
		if err != nil {
			return nil, err
		}
		var busy *Gateway
		for i, g := range all {
			if g.making() {
				busy = &all[i]
			}
		}
		switch {
		case busy != nil:
			if err := p.letFinish(ctx, *busy, task); err != nil {
				return nil, err
			}
		case len(all) == 0:
			return nil, nil
		default:
			return &all[0], nil
		}
	}
}

// making reports whether a berth has not finished the gateway: it is at it, or was killed.
func (g Gateway) making() bool { return g.created || g.isNext() }

func (g Gateway) isNext() bool { return strings.HasSuffix(g.Name, nextSuffix) }

// letFinish waits until another berth has started the gateway it is making, or
// it has become plain that it was killed before it could.
func (p *Publisher) letFinish(ctx context.Context, g Gateway, task *progress.Task) error {
	task.Update("another berth is starting the gateway")
	enough := makeWithin
	if g.isNext() {
		enough = swapWithin
	}
	waiting, cancel := context.WithDeadline(ctx, g.since.Add(enough))
	defer cancel()
	for {
		all, err := p.ofProject(waiting, g.Cluster, g.Project)
		still := false
		for _, now := range all {
			if now.id == g.id {
				still, g = now.making(), now
			}
		}
		if err == nil && !still {
			return nil
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return p.abandoned(ctx, g)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// abandoned puts right what a berth left that was killed while it made g. A new
// gateway that runs already is one; whatever is missing shows when it is told
// its ports.
func (p *Publisher) abandoned(ctx context.Context, g Gateway) error {
	if !g.isNext() || !g.Running {
		return p.remove(ctx, g)
	}
	old := Gateway{Project: g.Project, Cluster: g.Cluster, Name: strings.TrimSuffix(g.Name, nextSuffix)}
	all, err := p.ofProject(ctx, g.Cluster, g.Project)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Name == old.Name {
			old = o
		}
	}
	if old.id == "" {
		return p.engine.RenameContainer(ctx, g.id, old.Name)
	}
	return p.succeed(ctx, g.id, old)
}

// ofProject lists the containers of a project's gateway: one, and while it is
// replaced the next one after it.
func (p *Publisher) ofProject(ctx context.Context, cluster, project string) ([]Gateway, error) {
	found, err := p.containers(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var all []Gateway
	for _, c := range found { // by name
		if !isOf(c, project) {
			continue
		}
		g, err := p.read(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}
