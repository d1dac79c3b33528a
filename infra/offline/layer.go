package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/progress"
)

// A workshop is a container in which an image is made.
type workshop struct {
	client *docker.Client
	id     string
	task   *progress.Task
}

// makeImage gives the engine an image whose name ends in the key of all that
// goes into it, calling make when it is not there. Processes that make images
// of one name, whatever the key, take turns; what one that was killed left
// behind is removed.
func (k *Kit) makeImage(ctx context.Context, c *docker.Client, ref, title string, make func(*progress.Task) error) error {
	if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
		return err
	}
	name, _, _ := strings.Cut(ref, ":")
	task := progress.Start(k.sink, title, "starting")
	err := func() error {
		unlock, err := k.store.lock(ctx, filepath.Join("locks", filepath.Base(name)), task)
		if err != nil {
			return err
		}
		defer unlock()
		if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
			return err
		}
		left, err := c.Containers(ctx, labelWorkshop+"="+name)
		if err != nil {
			return err
		}
		for _, l := range left {
			if err := c.RemoveContainer(ctx, l.ID); err != nil {
				return err
			}
		}
		return make(task)
	}()
	return task.End(err, ref)
}

// labelWorkshop is on workshops: the name of the image that is made in it.
const labelWorkshop = "dev.berth.workshop"

// openWorkshop starts a container of image that does nothing, to make the
// image called ref in. The caller closes it.
func openWorkshop(ctx context.Context, c *docker.Client, task *progress.Task, image, ref string) (*workshop, error) {
	name, _, _ := strings.Cut(ref, ":")
	id, err := c.CreateContainer(ctx, docker.RunSpec{
		Image: image, Entrypoint: []string{"sleep", "infinity"}, Privileged: true,
		Network: "host", // reaches whatever mirrors this machine reaches
		Labels:  map[string]string{labelWorkshop: name},
	})
	if err != nil {
		return nil, err
	}
	w := &workshop{client: c, id: id, task: task}
	if err := c.StartContainer(ctx, id); err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	return w, nil
}

// proxyEnv passes the proxies of this process on to package managers.
func proxyEnv() []string {
	var env []string
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (w *workshop) close(ctx context.Context) error {
	return w.client.RemoveContainer(context.WithoutCancel(ctx), w.id)
}

// script runs a shell script in the workshop, with stdin as its input.
func (w *workshop) script(ctx context.Context, script string, env []string, stdin io.Reader) error {
	var tail tailLines
	out := &lineWriter{line: func(l string) {
		w.task.Log(l)
		tail.add(l)
	}}
	argv := slices.Concat([]string{"env"}, proxyEnv(), env, []string{"sh", "-c", script})
	status, err := w.client.Exec(ctx, w.id, argv, stdin, out, out)
	out.flush()
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d%s", status, tail.indented())
	}
	return err
}

// capture runs a shell script and copies what it prints to out; its standard
// error goes to the task's log.
func (w *workshop) capture(ctx context.Context, script string, env []string, out io.Writer) error {
	var tail tailLines
	errOut := &lineWriter{line: func(l string) {
		w.task.Log(l)
		tail.add(l)
	}}
	argv := slices.Concat([]string{"env"}, proxyEnv(), env, []string{"sh", "-c", script})
	status, err := w.client.Exec(ctx, w.id, argv, nil, out, errOut)
	errOut.flush()
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d%s", status, tail.indented())
	}
	return err
}

// copyIn unpacks an archive (tar) at the root of the workshop.
func (w *workshop) copyIn(ctx context.Context, archive io.Reader) error {
	return w.client.CopyTo(ctx, w.id, "/", archive)
}

// commit names the result. Changes are Dockerfile instructions; what the
// workshop itself ran is no part of the image.
func (w *workshop) commit(ctx context.Context, ref string, changes ...string) error {
	return w.client.Commit(ctx, w.id, ref, append([]string{"ENTRYPOINT []", "CMD []"}, changes...))
}
