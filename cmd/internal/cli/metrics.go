package cli

import (
	"context"

	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/metrics"
	"github.com/berth-dev/berth/infra/progress"
)

// metricsServer puts a metrics server into a cluster that berth created, when
// the first autoscaler asks for one.
type metricsServer struct {
	app     *App
	engine  *docker.Client
	kube    *kube.Client
	cluster cluster.Info
}

// Ensure leaves alone what serves figures already, whosever it is.
func (m *metricsServer) Ensure(ctx context.Context, sink progress.Sink) error {
	there, err := metrics.Installed(ctx, m.kube)
	if err != nil || there {
		return err
	}
	nodeImage := ""
	if m.cluster.Spec != nil {
		nodeImage = m.cluster.Spec.NodeImage
	}
	image, err := metrics.ImageFor(ctx, m.engine, nodeImage)
	if err != nil {
		return err
	}
	if _, err := m.app.loadAddon(ctx, m.engine, m.cluster.Name, nodeImage, image); err != nil {
		return err
	}
	return metrics.Install(ctx, m.kube, image, sink)
}
