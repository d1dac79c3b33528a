package cli

import (
	"context"
	"io"

	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/translate"
	"github.com/berth-dev/berth/translate/composefile"
)

// readProject reads the compose project that the root flags and the
// environment name. Services that the user named are enabled whatever their
// profiles say.
func (app *App) readProject(ctx context.Context, services []string) (translate.Input, composefile.Source, error) {
	input, source, err := composefile.Read(ctx, app.composeOptions(ctx, services))
	if err == nil {
		err = app.takeHints(input)
	}
	return input, source, err
}

// takeHints notes which cluster the compose file asks for (x-berth.cluster).
func (app *App) takeHints(input translate.Input) error {
	hints, err := translate.HintsOf(input.Project, input.Positions)
	app.hints = hints.Cluster
	return err
}

// composeOptions say which project the root flags and the environment name.
func (app *App) composeOptions(ctx context.Context, services []string) composefile.Options {
	g := &app.global
	var stdin io.Reader
	if app.In != nil {
		stdin = interruptible{ctx, app.In}
	}
	return composefile.Options{
		Dir:              app.Dir,
		ProjectDirectory: g.projectDir,
		Files:            g.files,
		ProjectName:      g.project,
		Profiles:         g.profiles,
		EnvFiles:         g.envFiles,
		Env:              app.Env,
		Stdin:            stdin,
		Services:         services,
	}
}

// readNames reads as much of the project as is needed to name it and its
// services: `berth down` works when an env file is gone.
func (app *App) readNames(ctx context.Context) (translate.Input, error) {
	options := app.composeOptions(ctx, nil)
	options.NamesOnly = true
	input, _, err := composefile.Read(ctx, options)
	if err == nil {
		err = app.takeHints(input)
	}
	return input, err
}

// project reads the compose project and passes on what the reader warns of.
func (app *App) project(ctx context.Context, services []string) (translate.Input, composefile.Source, error) {
	input, source, err := app.readProject(ctx, services)
	if err != nil {
		return input, source, err
	}
	for _, w := range source.Warnings {
		progress.Say(app.sink(), progress.Warn, "", w.String())
	}
	return input, source, nil
}

// names are those of the compose project and its services. --project-name alone
// is enough for verbs that need no more; then no services are known.
func (app *App) names(ctx context.Context) (project string, services []string, err error) {
	input, err := app.readNames(ctx)
	if err == nil {
		return input.Project.Name, append(input.Project.ServiceNames(), input.LeftOut...), nil
	}
	if app.global.project != "" && len(app.global.files) == 0 {
		return app.global.project, nil, nil
	}
	return "", nil, err
}
