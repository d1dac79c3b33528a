package apply

import (
	"context"
	"time"

	"github.com/berth-dev/berth/infra/model"
)

// Follow calls report with the services of the project, as Observe lists them,
// at once and after every change of the cluster, or with the error while the
// API server does not answer, until ctx ends or the cluster cannot be
// followed. Waits meanwhile share its watches and begin without
// reading everything first.
func (p *Project) Follow(ctx context.Context, report func([]model.ServiceState, error)) error {
	t := p.acquire(ctx)
	defer p.release(t)
	for {
		states, away, changed, err := t.services(time.Now())
		switch {
		case err != nil:
			return err
		case away != nil, states != nil:
			report(states, away)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
		if err := pause(ctx, settleFor); err != nil {
			return err
		}
	}
}

// pause waits for a moment: changes come in bursts.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// services describes the services as the watches show them, nil while they do
// not show everything, away when that is because the API server does not
// answer, and says when to look again.
func (t *tracker) services(now time.Time) (states []model.ServiceState, away error, changed <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return nil, nil, nil, t.err
	case t.pending > 0 || t.broken != nil:
		return nil, t.broken, t.changed, nil
	}
	return t.state.services(now), nil, t.changed, nil
}
