package composefile

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
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
	if err := transform(dict, project); err != nil {
		r.failures(r.decodeErrors("", err))
	}
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

// transform decodes a mapping into one of compose-go's types.
func transform(from map[string]any, into any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("compose cannot make sense of it: %v", p)
		}
	}()
	return loader.Transform(from, into)
}

// decodeAll decodes every entry of a section, on all processors: this is half
// of the work of reading a project.
func decodeAll[T any](r *reader, dict map[string]any, section string) map[string]T {
	entries, _ := dict[section].(map[string]any)
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	values := make([]T, len(names))
	errs := make([]error, len(names))
	var wait sync.WaitGroup
	chunk := max(1, (len(names)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for first := 0; first < len(names); first += chunk {
		wait.Go(func() {
			for i := first; i < min(first+chunk, len(names)) && r.ctx.Err() == nil; i++ {
				entry, _ := entries[names[i]].(map[string]any)
				entry["name"] = names[i]
				errs[i] = transform(entry, &values[i])
			}
		})
	}
	wait.Wait()
	decoded := make(map[string]T, len(names))
	for i, name := range names {
		if errs[i] != nil {
			r.failures(r.decodeErrors(section+"."+name, errs[i]))
		}
		decoded[name] = values[i]
	}
	return decoded
}

var decodeLine = regexp.MustCompile(`'([^']*)' *(.*)`)

// decodeErrors gives the errors of decoding an entry their places.
func (r *reader) decodeErrors(at string, err error) Errors {
	var errs Errors
	for _, line := range strings.Split(err.Error(), "\n") {
		m := decodeLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		attribute := strings.Trim(at+"."+m[1], ".")
		errs = append(errs, &Error{Position: r.place(attribute), What: attribute, Err: errors.New(m[2])})
	}
	if len(errs) == 0 {
		errs = Errors{{Position: r.place(at), What: at, Err: err}}
	}
	return errs
}
