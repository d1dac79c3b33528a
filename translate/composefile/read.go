package composefile

import (
	"context"
	"io"
	"slices"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// Read finds, loads and checks a compose project. Errors are of type *Error or
// Errors: as many as could be found at once, each with file and line.
func Read(ctx context.Context, o Options) (translate.Input, Source, error) {
	sel, warnings, err := discover(o)
	if err != nil {
		return translate.Input{}, Source{}, err
	}
	name, err := projectName(o, sel, "")
	if err != nil {
		return translate.Input{}, Source{}, err
	}
	details := types.ConfigDetails{WorkingDir: sel.dir, Environment: sel.env}
	for _, f := range sel.files {
		file := types.ConfigFile{Filename: f}
		if f == stdin {
			if file.Content, err = io.ReadAll(o.Stdin); err != nil {
				return translate.Input{}, Source{}, err
			}
		}
		details.ConfigFiles = append(details.ConfigFiles, file)
	}
	project, err := loader.LoadWithContext(ctx, details, func(l *loader.Options) {
		l.SetProjectName(name, false)
		l.SkipConsistencyCheck = true
		l.Profiles = sel.profiles
	})
	if err != nil {
		return translate.Input{}, Source{}, err
	}
	project.ComposeFiles = sel.files
	input := translate.Input{
		Project:   project,
		Positions: translate.Positions{},
		Paths:     pathFacts(project),
		LeftOut:   project.DisabledServiceNames(),
	}
	source := Source{Dir: sel.dir, ComposeFiles: sel.files, Profiles: sel.profiles, Warnings: warnings}
	source.Files = append(source.Files, sel.files...)
	source.Files = append(source.Files, sel.envFiles...)
	slices.Sort(source.Files)
	source.Files = slices.Compact(source.Files)
	return input, source, nil
}
