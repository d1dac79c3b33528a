package metrics

import (
	"context"
	"fmt"

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

// Install puts a metrics server of the given image into the cluster. It does
// not wait: the first figures come about half a minute after its start.
func Install(ctx context.Context, client *kube.Client, image string, sink progress.Sink) error {
	task := progress.Start(sink, "metrics", "installing a metrics server")
	return task.End(install(ctx, client, image, sink), "a metrics server is installed; its first figures come within a minute")
}

// install applies the APIService last, so that a cluster that has it has all.
func install(ctx context.Context, client *kube.Client, image string, sink progress.Sink) error {
	objects, err := addon.Objects(templates.Metrics, "metrics/metrics-server.yaml", image)
	if err != nil {
		return err
	}
	if _, err := apply.New(client, "", objects[0].GetName(), sink).Apply(ctx, objects); err != nil {
		return problem.New("install a metrics server", err, "")
	}
	return nil
}
