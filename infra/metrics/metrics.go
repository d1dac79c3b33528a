package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/berth-dev/berth/infra/addon"
	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// officialImage is pulled by the nodes where their image does not bring one.
const officialImage = "registry.k8s.io/metrics-server/metrics-server:v0.8.1"

// served is the object by which a cluster says that it has figures of pods.
var served = model.ObjectKey{Group: "apiregistration.k8s.io", Kind: "APIService", Name: "v1beta1.metrics.k8s.io"}

// ImageFor is the image to install in a cluster of the given node image.
func ImageFor(ctx context.Context, engine addon.Inspector, nodeImage string) (string, error) {
	onNode, err := addon.ImagesOf(ctx, engine, nodeImage)
	if err != nil {
		return "", err
	}
	image := onNode.Find("metrics-server")
	switch {
	case image == "" && len(onNode) > 0:
		return "", problem.New("install a metrics server", fmt.Errorf("node image %q does not hold one, and it was made for machines without a registry", nodeImage),
			"berth offline build makes a node image that does; make the cluster again from it")
	case image == "":
		return officialImage, nil
	}
	return image, nil
}

// Installed reports whether the cluster has a metrics server, whosever it is.
func Installed(ctx context.Context, client *kube.Client) (bool, error) {
	_, err := client.GetAny(ctx, served)
	if kube.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Install puts a metrics server of the given image into the cluster and returns
// when it serves; its first figures come about half a minute later. One that does
// not start is not announced: while an API is that nobody serves, no namespace can
// be deleted. The next Install tries again.
func Install(ctx context.Context, client *kube.Client, image string, sink progress.Sink) error {
	task := progress.Start(sink, "metrics", "installing a metrics server")
	return task.End(install(ctx, client, image, sink), "a metrics server is installed; its first figures come within a minute")
}

func install(ctx context.Context, client *kube.Client, image string, sink progress.Sink) error {
	objects, err := addon.Objects(templates.Metrics, "metrics/metrics-server.yaml", image)
	if err != nil {
		return err
	}
	namespace, last := objects[0].GetName(), len(objects)-1
	project := apply.New(client, "", namespace, sink)
	if _, err = project.Apply(ctx, objects[:last]); err == nil {
		err = awaitServing(ctx, client, namespace)
	}
	if err == nil {
		_, err = project.Apply(ctx, objects[last:])
	}
	if err != nil {
		return problem.New("install a metrics server", err, "kubectl -n "+namespace+" describe pods")
	}
	return nil
}

// Times of waiting for the metrics server: its image may have to be pulled.
const (
	servesWithin = 90 * time.Second
	looksEvery   = 200 * time.Millisecond
)

// awaitServing waits until a pod of the metrics server is ready.
func awaitServing(ctx context.Context, client *kube.Client, namespace string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, servesWithin, fmt.Errorf("it does not serve after %s", servesWithin))
	defer cancel()
	tick := time.NewTicker(looksEvery)
	defer tick.Stop()
	for {
		d, err := kube.Get[appsv1.Deployment](ctx, client, namespace, namespace)
		if err == nil && d.Status.AvailableReplicas > 0 && d.Status.ObservedGeneration == d.Generation {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
