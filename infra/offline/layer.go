package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
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
// of one name, whatever the key, take turns.
func (k *Kit) makeImage(ctx context.Context, c *docker.Client, ref, title string, make func(*progress.Task) error) error {
	if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
		return err
	}
	task := progress.Start(k.sink, title, "starting")
	err := func() error {
		unlock, err := k.store.lock(ctx, filepath.Join("locks", workshopName(ref)), task)
		if err != nil {
			return err
		}
		defer unlock()
		if _, found, err := c.ImageInfo(ctx, ref); err != nil || found {
			return err
		}
		return make(task)
	}()
	return task.End(err, ref)
}

// workshopName is the name of the container in which images are made that
// differ in their tag only. It is a name and not a label because containers
// inherit their image's labels: a label would be on every node of a cluster.
func workshopName(ref string) string {
	name, _, _ := strings.Cut(ref, ":")
	return "berth-workshop-" + path.Base(name)
}

// openWorkshop starts a container of image that does nothing, to make the
// image called ref in. The caller closes it, and holds the image's lock.
func openWorkshop(ctx context.Context, c *docker.Client, task *progress.Task, image, ref string) (*workshop, error) {
	name := workshopName(ref)
	if err := c.RemoveContainer(ctx, name); err != nil { // of a process that was killed
		return nil, err
	}
	id, err := c.CreateContainer(ctx, docker.RunSpec{
		Image: image, Name: name, Cmd: []string{"sleep", "infinity"}, Privileged: true,
		Network: "host", // reaches whatever mirrors this machine reaches
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

// commit names the result. Changes are Dockerfile instructions, with at least
// the command or the entry point: the engine keeps the workshop's own command
// otherwise. (An entry point of its own could not be taken back at all, which
// is why the workshop has none.)
func (w *workshop) commit(ctx context.Context, ref string, changes ...string) error {
	return w.client.Commit(ctx, w.id, ref, changes)
}
