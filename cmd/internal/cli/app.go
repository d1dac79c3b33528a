package cli

import (
	"context"
	"io"

	"github.com/berth-dev/berth/cmd/internal/ui"
	"github.com/berth-dev/berth/infra/cluster"
	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
)

// App is what the verbs share: the streams, the root flags, and the real parts
// of infra, each made when it is first asked for.
type App struct {
	Streams
	global  globalFlags
	hints   translate.ClusterHints // of the compose file, once it has been read
	started bool                   // the command line was in order and the verb began

	renderer   ui.Renderer
	engine     *docker.Client
	kubeClient *kube.Client
}

// clusterName is the kind cluster the verbs work with: --cluster, what the
// compose file asks for, or the default one.
func (app *App) clusterName() string {
	if app.global.cluster != "" {
		return app.global.cluster
	}
	if app.hints.Name != "" {
		return app.hints.Name
	}
	return cluster.DefaultName
}

// sink is where progress goes: standard error, in the form --progress asks for.
func (app *App) sink() progress.Sink {
	if app.renderer == nil {
		app.renderer = ui.New(app.global.progress, app.Err, isTerminal(app.Err), app.color())
	}
	return app.renderer
}

// settle ends the live progress display so that a verb can print its result;
// a later sink starts a new one.
func (app *App) settle() {
	if app.renderer != nil {
		app.renderer.Close()
		app.renderer = nil
	}
}

// docker connects to the engine, once.
func (app *App) docker(ctx context.Context) (*docker.Client, error) {
	if app.engine == nil {
		c, err := docker.New(ctx)
		if err != nil {
			return nil, err
		}
		app.engine = c
	}
	return app.engine, nil
}

// color reports whether text for people may be coloured (https://no-color.org).
func (app *App) color() bool { return app.colorOn(app.Err) }

// colorOn is color for another stream than standard error.
func (app *App) colorOn(stream io.Writer) bool {
	return app.Getenv("NO_COLOR") == "" && app.Getenv("TERM") != "dumb" && isTerminal(stream)
}

// close ends what the App opened.
func (app *App) close() {
	app.settle()
	if app.engine != nil {
		_ = io.Closer(app.engine).Close()
	}
}
