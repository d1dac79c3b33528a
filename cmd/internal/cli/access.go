package cli

import (
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/kube"
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
