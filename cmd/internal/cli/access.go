package cli

import (
	"context"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/translate"
)

// owned reports whether the verbs work on a kind cluster, not on the one that
// --context names.
func (app *App) owned() bool { return app.global.context == "" }

// kubeContext is the kubeconfig context the verbs work with.
func (app *App) kubeContext() string {
	if app.owned() {
		return cluster.Context(app.clusterName())
	}
	return app.global.context
}

// kube connects to the API server, once. It does not ask whether it answers.
func (app *App) kube() (*kube.Client, error) {
	if app.kubeClient == nil {
		c, err := kube.New("", app.kubeContext())
		if err != nil {
			return nil, err
		}
		app.kubeClient = c
	}
	return app.kubeClient, nil
}

// A deployment is a compose project as the cluster has it.
type deployment struct {
	*apply.Project
	kube  *kube.Client
	input translate.Input // of the compose file
}

// deployed is the project of the compose file, or of --project-name alone, on
// the cluster. Services that the user named must exist in the compose file,
// where there is one.
func (app *App) deployed(ctx context.Context, services []string) (*deployment, error) {
	input, _, err := app.project(ctx, services)
	if err != nil {
		return nil, err
	}
	client, err := app.kube()
	if err != nil {
		return nil, err
	}
	name := input.Project.Name
	return &deployment{
		Project: apply.New(client, name, translate.Namespace(name), app.sink()),
		kube:    client,
		input:   input,
	}, nil
}
