package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// Delete removes a cluster, its kubeconfig entry and what berth runs beside it
// on the engine. One that does not exist, or only half, is no error.
func (m *Manager) Delete(ctx context.Context, name string, sink progress.Sink) error {
	return m.change(ctx, name, "deleting", sink, func(n *narrator, l *lock) (string, error) {
		host, err := m.engine.HostFacts(ctx)
		if err != nil {
			return "", err
		}
		if err := l.note(intent{Engine: host.EngineID, Unfinished: true}); err != nil {
			return "", err
		}
		if err := m.clear(ctx, name); err != nil {
			return "", err
		}
		provider, err := m.provider(kindLogger{narrator: n})
		if err != nil {
			return "", err
		}
		if err := m.clearHelpers(ctx, name); err != nil {
			return "", err
		}
		// They could be brought back to these nodes only.
		if err := m.removeCheckpoints(ctx, name, func(bool) bool { return true }); err != nil {
			return "", err
		}
		// No node is left: kind removes the kubeconfig entry.
		if err := provider.Delete(name, ""); err != nil {
			return "", err
		}
		return "deleted", l.note(intent{})
	})
}

// clear removes every container of a cluster and of the gateways to it, until
// none is left.
func (m *Manager) clear(ctx context.Context, name string) error {
	for _, label := range []string{model.LabelCluster, labelCluster} {
		for range 50 {
			containers, err := m.engine.Containers(ctx, label+"="+name)
			if err != nil {
				return err
			}
			if len(containers) == 0 {
				break
			}
			err = each(containers, func(c docker.Container) error {
				if err := m.engine.RemoveContainer(ctx, c.ID); err != nil {
					return problem.New(fmt.Sprintf("remove container %q", c.Name), err, "docker rm -f -v "+c.Name+", then run the command again")
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil { // another may be removing it
				return err
			}
		}
	}
	return nil
}

// each runs f for every element at once and returns all errors.
func each[T any](all []T, f func(T) error) error {
	errs := make(chan error, len(all))
	for _, x := range all {
		go func() { errs <- f(x) }()
	}
	var err error
	for range all {
		err = errors.Join(err, <-errs)
	}
	return err
}
