package composefile

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// decode turns the merged model into compose-go's types.
func (r *reader) decode(model *node, sel selection, name string) *types.Project {
	dict := model.plain(composeRules()).(map[string]any)
	dict["name"] = name
	dict, err := normalize(dict, sel.env)
	if err != nil {
		r.fail(translate.Position{}, "compose project", err, "")
		return nil
	}
	project := &types.Project{
		Name: name, WorkingDir: sel.dir, Environment: sel.env, ComposeFiles: sel.files,
		Profiles: sel.profiles, Services: types.Services{}, DisabledServices: types.Services{},
	}
	services := decodeAll[types.ServiceConfig](r, dict, "services")
	jobs := decodeAll[types.JobConfig](r, dict, "jobs")
	for _, key := range []string{"services", "jobs", "name", "version"} {
		delete(dict, key)
	}
	var b binder
	b.bind(dict, reflect.ValueOf(project).Elem(), nil)
	r.bindErrors(b)
	for key, s := range services {
		if s.HasProfile(sel.profiles) {
			project.Services[key] = s
		} else {
			project.DisabledServices[key] = s
		}
	}
	for key, j := range jobs {
		if project.Jobs == nil {
			project.Jobs, project.DisabledJobs = types.Jobs{}, types.Jobs{}
		}
		if j.HasProfile(sel.profiles) {
			project.Jobs[key] = j
		} else {
			project.DisabledJobs[key] = j
		}
	}
	return project
}

// normalize sets the names and implied parts of a model. The schema has been
// checked; should compose-go still find a type it cannot take, that is an error
// and not the end of the program.
func normalize(dict map[string]any, env map[string]string) (out map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("compose cannot make sense of it: %v", p)
		}
	}()
	return loader.Normalize(dict, env)
}

// decodeAll decodes every entry of a section, on all processors.
func decodeAll[T any](r *reader, dict map[string]any, section string) map[string]T {
	entries, _ := dict[section].(map[string]any)
	names := slices.Sorted(maps.Keys(entries))
	values := make([]T, len(names))
	binders := make([]binder, len(names))
	chunk := max(1, (len(names)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for first := 0; first < len(names); first += chunk {
		wait.Go(func() {
			for i := first; i < min(first+chunk, len(names)) && r.ctx.Err() == nil; i++ {
				entry, _ := entries[names[i]].(map[string]any)
				entry["name"] = names[i]
				binders[i].bind(entry, reflect.ValueOf(&values[i]).Elem(), (*attribute)(nil).field(section).field(names[i]))
			}
		})
	}
	wait.Wait()
	decoded := make(map[string]T, len(names))
	for i, name := range names {
		r.bindErrors(binders[i])
		decoded[name] = values[i]
	}
	return decoded
}

// bindErrors gives the errors of decoding their places.
func (r *reader) bindErrors(b binder) {
	for _, e := range b.errs {
		r.fail(r.place(e.at), e.at, e.err, "")
	}
}
