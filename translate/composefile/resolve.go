package composefile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// resolveFiles puts the variables of env files and the labels of label files
// into the active services and jobs.
func (r *reader) resolveFiles(p *types.Project) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		at := "services." + name
		r.resolveContainer(&s.ContainerSpec, p.Environment, at)
		for i := range s.PreStart {
			if hook := &s.PreStart[i].ContainerSpec; len(hook.Environment)+len(hook.EnvFiles)+len(hook.LabelFiles) > 0 {
				r.resolveContainer(hook, p.Environment, at)
			}
		}
		p.Services[name] = s
	}
	for _, name := range slices.Sorted(maps.Keys(p.Jobs)) {
		j := p.Jobs[name]
		r.resolveContainer(&j.ContainerSpec, p.Environment, "jobs."+name)
		p.Jobs[name] = j
	}
}

// resolveContainer does so for one container. `environment` wins over env
// files, a later file over an earlier one.
func (r *reader) resolveContainer(c *types.ContainerSpec, env types.Mapping, at string) {
	c.Environment = c.Environment.Resolve(env.Resolve)
	vars := c.Environment.ToMapping()
	for i, f := range c.EnvFiles {
		where := fmt.Sprintf("%s.env_file[%d]", at, i)
		r.files[f.Path] = true
		if _, err := os.Stat(f.Path); errors.Is(err, os.ErrNotExist) && !bool(f.Required) {
			continue
		}
		r.mappingFile(where, f.Path, f.Format, vars, func(key string) (string, bool) {
			if v, ok := env[key]; ok {
				return v, true
			}
			if v := c.Environment[key]; v != nil {
				return *v, true
			}
			return "", false
		})
	}
	c.Environment = vars.ToMappingWithEquals().OverrideBy(c.Environment)
	r.resolveLabels(c, at)
}

func (r *reader) resolveLabels(c *types.ContainerSpec, at string) {
	if len(c.LabelFiles) == 0 {
		return
	}
	labels := types.Mapping{}
	for i, f := range c.LabelFiles {
		r.files[f] = true
		r.mappingFile(fmt.Sprintf("%s.label_file[%d]", at, i), f, labelFormat, labels, labels.Resolve)
	}
	maps.Copy(labels, c.Labels)
	c.Labels = types.Labels(labels)
}

// mappingFile adds the variables of one env or label file.
func (r *reader) mappingFile(where, path, format string, vars types.Mapping, lookup dotenv.LookupFn) {
	content, err := readSmallFile(path, maxEnvFile)
	if err != nil {
		cure := "create it, or correct the path"
		if format != labelFormat && errors.Is(err, errNotFound) {
			cure = "create it, or write `required: false`"
		}
		r.fail(r.place(where), where, fmt.Errorf("%q: %w", r.opts.display(path), err), cure)
		return
	}
	switch format {
	case "", dotenv.DotEnv, labelFormat:
		err = parseDotEnv(content, vars, lookup)
	case rawFormat:
		if err = utf8Only(content); err == nil {
			err = rawEnvFile(bytes.NewReader(content), path, vars, lookup)
		}
	default:
		r.fail(r.place(where), where, fmt.Errorf("%q is not a format of env files", format), "use raw, or leave format out")
		return
	}
	if err != nil {
		e := dotEnvError(r.opts.display(path), err)
		e.What = where
		r.failures(translate.Errors{e})
	}
}

// labelFormat is the format of label files, which have no choice.
const labelFormat = "labels"
