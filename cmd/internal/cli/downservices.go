package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/gateway"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/names"
	"github.com/berth-dev/berth/infra/problem"
)

// downServices removes services from the cluster and the gateway; the rest of
// the project goes on. What is gone already is no error.
func (app *App) downServices(ctx context.Context, services []string, opts downOptions) error {
	if opts.rmi != "" {
		return misuse("down --rmi "+strings.Join(services, " "), errors.New("services may share an image, so those of a project go together"), "berth down --rmi local")
	}
	r, err := app.running(ctx, services)
	if err != nil {
		return err
	}
	if err := r.removable(services, opts.volumes); err != nil {
		return err
	}
	if err := app.unpublish(ctx, r, services); err != nil {
		return err
	}
	if err := r.StopServices(ctx, r.states, services, opts.timeout); err != nil {
		return err
	}
	changes, err := r.DeleteServices(ctx, services, opts.volumes)
	if err != nil || !app.owned() {
		return err
	}
	var gone []string
	for _, c := range changes {
		if c.Key.Kind == "Service" {
			gone = append(gone, c.Key.Name)
		}
	}
	return names.New(r.kube).Forget(ctx, r.Namespace(), gone)
}

// removable refuses to remove services that others share pods with, and volumes
// of which the cluster no longer tells whose they are.
func (r *running) removable(services []string, volumes bool) error {
	for _, name := range services {
		own := r.state(name)
		if own == nil && volumes {
			return problem.New(fmt.Sprintf("remove the volumes of service %q", name), errors.New("it is not in the cluster, which tells what it uses"),
				"berth down --volumes removes those of the whole project")
		}
		for _, s := range r.states {
			if own != nil && s.Kind == own.Kind && s.Name == own.Name && !slices.Contains(services, s.Service) {
				return problem.New(fmt.Sprintf("remove service %q alone", name), fmt.Errorf("it shares its pods with %q", s.Service),
					"berth down "+strings.Join(services, " ")+" "+s.Service)
			}
		}
	}
	return nil
}

// unpublish takes the ports of services back; the others stay as they are.
func (app *App) unpublish(ctx context.Context, r *running, services []string) error {
	if !app.owned() {
		return nil
	}
	engine, err := app.docker(ctx)
	if err != nil {
		return err
	}
	gateways := gateway.New(engine)
	list, err := gateways.List(ctx, app.clusterName())
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(g gateway.Gateway) bool { return g.Project == r.name })
	if at < 0 {
		return nil
	}
	all := list[at].Wanted()
	left := slices.DeleteFunc(slices.Clone(all), func(p model.PublishedPort) bool { return slices.Contains(services, p.Service) })
	if len(left) == len(all) {
		return nil
	}
	rest := &publisher{gateway: gateways, kube: r.kube, project: r.name, namespace: r.Namespace(), cluster: app.clusterName()}
	_, err = rest.Publish(ctx, left, app.sink())
	return err
}
