package image

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	dockershell "github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/berth-dev/berth/infra/model"
)

// Bases lists the images that a build needs beside its context: those its
// stages start from, copy from and mount from, as the Dockerfile names them.
// Stages that its target does not need are left out. platform (linux/amd64) is
// that of the machine and the image. A remote context is not looked into: then
// known is false.
func Bases(spec model.BuildSpec, platform string) (refs []string, known bool, err error) {
	source := []byte(spec.DockerfileInline)
	if len(source) == 0 {
		if isRemote(spec.Context) {
			return nil, false, nil
		}
		file := spec.Dockerfile
		if file == "" {
			file = "Dockerfile"
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(spec.Context, file)
		}
		if source, err = os.ReadFile(file); err != nil {
			return nil, false, err
		}
	}
	tree, err := parser.Parse(bytes.NewReader(source))
	if err != nil {
		return nil, false, fmt.Errorf("read the Dockerfile of image %q: %w", spec.Name, err)
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, false, fmt.Errorf("read the Dockerfile of image %q: %w", spec.Name, err)
	}
	d := dockerfile{spec: spec, stages: stages, seen: map[int]bool{}, refs: map[string]bool{}}
	lex := dockershell.NewLex(tree.EscapeToken)
	env := globalArgs(lex, args, spec.Args, platform)
	for i := range d.stages {
		base, _, err := lex.ProcessWord(d.stages[i].BaseName, env)
		if err != nil {
			return nil, false, fmt.Errorf("read the Dockerfile of image %q: %w", spec.Name, err)
		}
		d.stages[i].BaseName = base
	}
	if target := d.target(); target >= 0 {
		d.need(target)
	}
	return slices.Sorted(maps.Keys(d.refs)), true, nil
}

// globalArgs are the arguments that FROM may use: those before the first FROM,
// as the build sets them, and those that BuildKit sets.
func globalArgs(lex *dockershell.Lex, args []instructions.ArgCommand, set map[string]string, platform string) dockershell.EnvGetter {
	values := []string{}
	goos, arch, _ := strings.Cut(platform, "/")
	for _, side := range []string{"BUILD", "TARGET"} {
		values = append(values, side+"PLATFORM="+platform, side+"OS="+goos, side+"ARCH="+arch)
	}
	for _, command := range args {
		for _, arg := range command.Args {
			value, ok := set[arg.Key]
			if !ok && arg.Value != nil {
				value, _, _ = lex.ProcessWord(*arg.Value, dockershell.EnvsFromSlice(values)) // what cannot be read fails the build
				ok = true
			}
			if ok {
				values = append(values, arg.Key+"="+value)
			}
		}
	}
	return dockershell.EnvsFromSlice(values)
}

// A dockerfile collects the images that its stages need.
type dockerfile struct {
	spec   model.BuildSpec
	stages []instructions.Stage
	seen   map[int]bool
	refs   map[string]bool
}

// target is the stage that is built, -1 when there is none.
func (d *dockerfile) target() int {
	if d.spec.Target == "" {
		return len(d.stages) - 1
	}
	return d.stage(d.spec.Target, len(d.stages))
}

// stage finds the stage of a name or number among the first ones, -1 for none.
func (d *dockerfile) stage(name string, among int) int {
	for i := among - 1; i >= 0; i-- {
		if strings.EqualFold(d.stages[i].Name, name) || strconv.Itoa(i) == name {
			return i
		}
	}
	return -1
}

// need notes what a stage starts from, copies from and mounts from.
func (d *dockerfile) need(stage int) {
	if d.seen[stage] {
		return
	}
	d.seen[stage] = true
	s := d.stages[stage]
	from := []string{s.BaseName}
	for _, command := range s.Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			from = append(from, c.From)
		case *instructions.RunCommand:
			for _, m := range instructions.GetMounts(c) {
				from = append(from, m.From)
			}
		}
	}
	for _, name := range from {
		d.source(name, stage)
	}
}

// source notes one thing that a stage takes from.
func (d *dockerfile) source(name string, stage int) {
	context, named := d.spec.AdditionalContexts[name]
	switch other := d.stage(name, stage); {
	case name == "" || strings.EqualFold(name, "scratch"):
	case named: // comes before stages and images (BuildKit's named contexts)
		if ref, ok := strings.CutPrefix(context, imageContext); ok {
			d.refs[ref] = true
		}
	case other >= 0:
		d.need(other)
	default:
		d.refs[name] = true
	}
}
