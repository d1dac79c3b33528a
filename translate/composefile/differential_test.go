package composefile

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// composeGo loads a project with compose-go's own loader, as docker compose
// does.
func composeGo(ctx context.Context, o Options) (*types.Project, error) {
	var files []string
	for _, f := range o.Files {
		files = append(files, o.abs(f))
	}
	var envFiles []string
	for _, f := range o.EnvFiles {
		envFiles = append(envFiles, o.abs(f))
	}
	dir := o.ProjectDirectory // the test's working directory is o.Dir
	options, err := cli.NewProjectOptions(files,
		cli.WithWorkingDirectory(dir),
		cli.WithEnv(append([]string{"PWD=" + o.Dir}, o.Env...)),
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithConfigFileEnv, cli.WithDefaultConfigPath,
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv,
		cli.WithDefaultProfiles(o.Profiles...), cli.WithName(o.ProjectName),
		cli.WithLoadOptions(func(l *loader.Options) { l.MaxNodeVisits = maxNodes }),
	)
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// canonicalYAML is a project as `docker compose config` prints it.
func canonicalYAML(t testing.TB, p *types.Project) string {
	t.Helper()
	out, err := p.MarshalYAML(types.WithSecretContent)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// compareProjects fails the test where our project differs from compose-go's.
func compareProjects(t *testing.T, ours, theirs *types.Project) {
	t.Helper()
	if a, b := canonicalYAML(t, ours), canonicalYAML(t, theirs); a != b {
		t.Errorf("differs from compose-go:\n%s", firstDifference(a, b))
	}
	for name, s := range theirs.Services {
		diffFields(t, "services."+name, reflect.ValueOf(ours.Services[name]), reflect.ValueOf(s))
	}
	if a, b := slices.Sorted(maps.Keys(ours.DisabledServices)), slices.Sorted(maps.Keys(theirs.DisabledServices)); !slices.Equal(a, b) {
		t.Errorf("left out %v, compose-go leaves out %v", a, b)
	}
	for section, pair := range map[string][2]any{
		"networks": {ours.Networks, theirs.Networks}, "volumes": {ours.Volumes, theirs.Volumes}, "secrets": {ours.Secrets, theirs.Secrets},
		"configs": {ours.Configs, theirs.Configs}, "models": {ours.Models, theirs.Models}, "extensions": {ours.Extensions, theirs.Extensions},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s differ:\nours   %#v\ntheirs %#v", section, pair[0], pair[1])
		}
	}
}

// diffFields names the fields of two structs that differ.
func diffFields(t *testing.T, at string, ours, theirs reflect.Value) {
	t.Helper()
	for i := range ours.NumField() {
		name := at + "." + ours.Type().Field(i).Name
		switch {
		case ours.Type().Field(i).Anonymous:
			diffFields(t, at, ours.Field(i), theirs.Field(i))
		case !reflect.DeepEqual(ours.Field(i).Interface(), theirs.Field(i).Interface()):
			t.Errorf("%s: ours %#v, theirs %#v", name, ours.Field(i).Interface(), theirs.Field(i).Interface())
		}
	}
}

func firstDifference(a, b string) string {
	ours, theirs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(ours), len(theirs)) {
		if ours[i] != theirs[i] {
			from := max(0, i-6)
			return "ours\n" + strings.Join(ours[from:min(len(ours), i+6)], "\n") + "\ntheirs\n" + strings.Join(theirs[from:min(len(theirs), i+6)], "\n")
		}
	}
	return "one is longer"
}
