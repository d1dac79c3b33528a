package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// sayClassic says, once, that builds do without BuildKit.
func (i *Images) sayClassic(sink progress.Sink) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.saidClassic {
		i.saidClassic = true
		progress.Say(sink, progress.Warn, "build", "the engine has no BuildKit: building with its classic builder, which is slower and knows no secrets, ssh or additional contexts")
	}
}

// buildClassic builds without BuildKit and returns the image's ID.
func (i *Images) buildClassic(ctx context.Context, spec model.BuildSpec, task *progress.Task) (string, error) {
	if err := classicCan(spec); err != nil {
		return "", err
	}
	b := docker.ClassicBuild{
		Dockerfile: spec.Dockerfile, Tags: append([]string{spec.Name}, spec.Tags...), Args: spec.Args, Labels: spec.Labels,
		Target: spec.Target, Platform: strings.Join(spec.Platforms, ","), Network: spec.Network, ExtraHosts: spec.ExtraHosts,
		ShmSize: spec.ShmSize, Ulimits: spec.Ulimits, NoCache: spec.NoCache, Pull: spec.Pull,
	}
	for _, c := range spec.CacheFrom {
		if !strings.Contains(c, "=") {
			b.CacheFrom = append(b.CacheFrom, c)
		}
	}
	if isRemote(spec.Context) {
		b.Remote = spec.Context
	} else {
		archive, file, err := classicContext(ctx, spec)
		if err != nil {
			return "", err
		}
		defer archive.Close()
		b.Context, b.Dockerfile = archive, file
	}
	var step string
	var tail []string
	id, err := i.engine.BuildClassic(ctx, b, func(line string) {
		task.Log(line)
		if strings.HasPrefix(line, "Step ") {
			step, tail = line, nil
			task.Update(line)
			return
		}
		if tail = append(tail, line); len(tail) > tailLines {
			tail = tail[1:]
		}
	})
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		text := fmt.Sprintf("%s\n%v", step, err)
		if len(tail) > 0 {
			text += "\nits output ends with:\n  " + strings.Join(tail, "\n  ")
		}
		return "", problem.New(fmt.Sprintf("build image %q", spec.Name), errors.New(text), "")
	}
	return id, nil
}

// classicCan refuses what only BuildKit can do, rather than leave it out.
func classicCan(spec model.BuildSpec) error {
	var needs []string
	for what, used := range map[string]bool{
		"secrets": len(spec.Secrets) > 0, "ssh": len(spec.SSH) > 0, "additional_contexts": len(spec.AdditionalContexts) > 0,
		"cache_to": len(spec.CacheTo) > 0, "entitlements": len(spec.Entitlements) > 0 || spec.Privileged,
		"several platforms": len(spec.Platforms) > 1, "provenance": attestation(spec.Provenance) != "", "sbom": attestation(spec.SBOM) != "",
		"no_cache_filter": len(spec.NoCacheFilter) > 0, "a Dockerfile of this machine for a remote context": ownDockerfile(spec),
	} {
		if used {
			needs = append(needs, what)
		}
	}
	if len(needs) == 0 {
		return nil
	}
	slices.Sort(needs)
	return problem.New(fmt.Sprintf("build image %q: %s", spec.Name, strings.Join(needs, ", ")), errNoBuildKit, "use an engine with BuildKit: Docker 20.10 or newer")
}

// classicContext is the tar stream of a build context without what
// .dockerignore names, and the Dockerfile's name in it.
func classicContext(ctx context.Context, spec model.BuildSpec) (io.ReadCloser, string, error) {
	dir, err := fsutil.NewFS(spec.Context)
	if err != nil {
		return nil, "", problem.New(fmt.Sprintf("build context %q", spec.Context), err, "check build.context in the compose file")
	}
	file := spec.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(spec.Context, file)
	}
	excludes, err := dockerignore(spec.Context, file)
	if err != nil {
		return nil, "", err
	}
	if dir, err = fsutil.NewFilterFS(dir, &fsutil.FilterOpt{ExcludePatterns: excludes}); err != nil {
		return nil, "", fmt.Errorf(".dockerignore: %w", err)
	}
	name, err := filepath.Rel(spec.Context, file)
	if err != nil {
		return nil, "", err
	}
	var extra *memFile
	if spec.DockerfileInline != "" {
		name, extra = ".berth.Dockerfile", &memFile{".berth.Dockerfile", []byte(spec.DockerfileInline)}
	} else if !filepath.IsLocal(name) {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, "", problem.New(fmt.Sprintf("no Dockerfile at %q", file), nil, "add it, or set build.dockerfile in the compose file")
		}
		name, extra = ".berth.Dockerfile", &memFile{".berth.Dockerfile", data}
	} else if err := dockerfileExists(file); err != nil {
		return nil, "", err
	}
	if extra != nil {
		dir = withFile{dir, *extra}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(fsutil.WriteTar(ctx, dir, w)) }()
	return r, filepath.ToSlash(name), nil
}

// A withFile is a folder with one file more.
type withFile struct {
	fsutil.FS
	extra memFile
}

func (f withFile) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	if err := f.extra.Walk(ctx, target, fn); err != nil {
		return err
	}
	return f.FS.Walk(ctx, target, fn)
}

func (f withFile) Open(name string) (io.ReadCloser, error) {
	if name == f.extra.name {
		return f.extra.Open(name)
	}
	return f.FS.Open(name)
}

// dockerignore reads <Dockerfile>.dockerignore or, where there is none,
// .dockerignore of the context. The Dockerfile itself always goes along.
func dockerignore(dir, file string) ([]string, error) {
	for _, name := range []string{file + ".dockerignore", filepath.Join(dir, ".dockerignore")} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		patterns, err := ignorefile.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) && len(patterns) > 0 {
			patterns = append(patterns, "!"+filepath.ToSlash(rel))
		}
		return patterns, nil
	}
	return nil, nil
}
