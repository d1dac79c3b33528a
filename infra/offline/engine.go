package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

// A Kit builds and looks after everything of the offline kit. Its methods may
// be called by several processes at once; they take turns.
type Kit struct {
	store   store
	sink    progress.Sink
	modules map[string]module
}

// New returns the kit of the current user, reporting its work to sink.
func New(sink progress.Sink) (*Kit, error) {
	s, err := newStore()
	if err != nil {
		return nil, err
	}
	modules, err := readModules()
	if err != nil {
		return nil, err
	}
	return &Kit{store: s, sink: sink, modules: modules}, nil
}

// An Engine is a Docker Engine that can run privileged containers.
type Engine struct {
	Host    string `json:"host"`    // as DOCKER_HOST would name it
	Version string `json:"version"` // the engine's
	Default bool   `json:"default"` // it is found without setting DOCKER_HOST anew
	Started bool   `json:"started"` // by this call
}

// EnsureEngine returns an engine that can run privileged containers: the one
// that DOCKER_HOST or the default socket names, or one that an earlier call
// started, or a new one, installed and started where that is possible (Debian
// or Ubuntu, as root). Calling it again is harmless.
func (k *Kit) EnsureEngine(ctx context.Context) (Engine, error) {
	task := progress.Start(k.sink, "engine", "looking for a Docker Engine")
	engine, err := k.ensureEngine(ctx, task)
	return engine, task.End(err, fmt.Sprintf("Docker %s at %s", engine.Version, engine.Host))
}

func (k *Kit) ensureEngine(ctx context.Context, task *progress.Task) (Engine, error) {
	main, why := k.tryEngine(ctx, task, "")
	if why == nil {
		return main, nil
	}
	if ctx.Err() != nil {
		return Engine{}, context.Cause(ctx)
	}
	d := mainDaemon()
	if main.Host != "" || os.Getenv("DOCKER_HOST") != "" {
		// One answers but is of no use, or the user named one: ours goes beside it.
		d = besideDaemon()
		if second, err := k.tryEngine(ctx, task, d.host()); err == nil {
			return second, nil
		}
	}
	if err := canInstall(); err != nil {
		return Engine{}, problem.New("find a Docker Engine that can run privileged containers", errors.Join(why, err),
			"install Docker and start it; berth installs one by itself only on Debian and Ubuntu, as root")
	}
	task.Update("no usable engine: " + firstLine(why))
	unlock, err := k.store.lock(ctx, "engine", task)
	if err != nil {
		return Engine{}, err
	}
	defer unlock()
	if engine, err := k.tryEngine(ctx, task, d.host()); err == nil {
		return engine, nil // another process was faster
	}
	if !d.installed() {
		if err := errors.Join(d.configure()); err != nil {
			return Engine{}, err
		}
		if err := k.installEngine(ctx, task); err != nil {
			return Engine{}, problem.New("install Docker", err, "run the command again; it goes on where it stopped")
		}
	}
	if err := d.start(ctx, task); err != nil {
		return Engine{}, problem.New("start Docker", err, "read the daemon's log, "+d.log)
	}
	engine, err := k.tryEngine(ctx, task, d.host())
	engine.Started = err == nil
	return engine, err
}

// tryEngine finds out whether the engine at host ("" for the default) can run
// a privileged container. The Host of the result is set when one answered.
func (k *Kit) tryEngine(ctx context.Context, task *progress.Task, host string) (Engine, error) {
	connect := docker.New
	if host != "" {
		connect = func(ctx context.Context) (*docker.Client, error) { return docker.Connect(ctx, host) }
	}
	c, err := connect(ctx)
	if err != nil {
		return Engine{}, err
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil {
		return Engine{}, err
	}
	engine := Engine{Host: c.Host(), Version: info.ServerVersion, Default: host == "" || host == mainDaemon().host()}
	task.Update("trying a privileged container in Docker " + info.ServerVersion)
	image, err := k.trialImage(ctx, c, task)
	if err != nil {
		return engine, err
	}
	var out bytes.Buffer
	err = c.Run(ctx, docker.RunSpec{Image: image, Cmd: []string{"/pause", "status"}, Privileged: true}, &out)
	if err != nil {
		return engine, problem.New("run a privileged container", err, "")
	}
	return engine, nil
}

// trialImage makes an image of one small program and returns its name.
func (k *Kit) trialImage(ctx context.Context, c *docker.Client, task *progress.Task) (string, error) {
	p := programs["pause"]
	ref := "berth/trial:" + p.key()
	if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
		return ref, err
	}
	dir, err := k.buildProgram(ctx, task, p)
	if err != nil {
		return "", err
	}
	binary, err := os.ReadFile(filepath.Join(dir, "pause"))
	if err != nil {
		return "", err
	}
	archive, err := tarOf(tarFile{name: "pause", mode: 0o755, data: binary})
	if err != nil {
		return "", err
	}
	return ref, c.ImportRootfs(ctx, bytes.NewReader(archive), ref, nil)
}
