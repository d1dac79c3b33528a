package ingress

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// serveTimeout is how long the controller may take from the moment its
// manifest is applied: its image may have to be pulled.
const serveTimeout = 5 * time.Minute

// Install applies the controller's manifest and waits until the controller
// answers on 127.0.0.1:httpPort. Run again it changes nothing that is in
// place already. With None it says so and does nothing.
func Install(ctx context.Context, client *kube.Client, c Controller, httpPort int, sink progress.Sink) error {
	if c.Kind == None {
		progress.Say(sink, progress.Note, "ingress", "no controller is installed: "+c.Reason)
		return nil
	}
	task := progress.Start(sink, "ingress", fmt.Sprintf("installing %s (%s)", c.Kind, c.Reason))
	return task.End(install(ctx, client, c, httpPort, task, sink),
		fmt.Sprintf("%s serves http://127.0.0.1:%d (%s)", c.Kind, httpPort, c.Reason))
}

func install(ctx context.Context, client *kube.Client, c Controller, httpPort int, task *progress.Task, sink progress.Sink) error {
	objects, err := manifest(c)
	if err != nil {
		return err
	}
	if _, err := apply.New(client, "", namespaceOf(objects), sink).Apply(ctx, objects); err != nil {
		return problem.New(fmt.Sprintf("install ingress controller %s", c.Kind), err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	return awaitServing(ctx, client, namespaceOf(objects), httpPort, task)
}

// manifest is the controller's objects, its image filled in.
func manifest(c Controller) ([]model.Object, error) {
	return addon.Objects(templates.Ingress, path.Join("ingress", string(c.Kind)+".yaml"), c.Image)
}

// namespaceOf is the controller's namespace: the first object of its manifest.
func namespaceOf(objects []model.Object) string { return objects[0].GetName() }
