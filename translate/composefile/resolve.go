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
		r.mappingFile(fmt.Sprintf("%s.label_file[%d]", at, i), f, "", labels, labels.Resolve)
	}
	maps.Copy(labels, c.Labels)
	c.Labels = types.Labels(labels)
}

// mappingFile adds the variables of one env or label file.
func (r *reader) mappingFile(where, path, format string, vars types.Mapping, lookup dotenv.LookupFn) {
	content, err := readSmallFile(path, maxEnvFile)
	if err != nil {
		cure := "create it, or write `required: false`"
		if format == "" && vars == nil {
			cure = "create it"
		}
		r.fail(r.place(where), where, fmt.Errorf("%q: %w", r.opts.display(path), err), cure)
		return
	}
	if err := parseMapping(content, path, format, vars, lookup); err != nil {
		e := dotEnvError(r.opts.display(path), err)
		e.What = where
		r.failures(Errors{e})
	}
}

// parseMapping parses an env file. The parser indexes past the end of some
// malformed input; that is one more syntax error.
func parseMapping(content []byte, path, format string, vars types.Mapping, lookup dotenv.LookupFn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the file is malformed")
		}
	}()
	return dotenv.ParseWithFormat(bytes.NewReader(content), path, vars, lookup, format)
}
