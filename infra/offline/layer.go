package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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

// openWorkshop starts a container of an image that does nothing. The caller
// closes it.
func openWorkshop(ctx context.Context, c *docker.Client, task *progress.Task, image string, binds ...string) (*workshop, error) {
	id, err := c.CreateContainer(ctx, docker.RunSpec{
		Image: image, Entrypoint: []string{"sleep", "infinity"}, Privileged: true, Env: proxyEnv(), Binds: binds,
		Labels: map[string]string{"dev.berth.kit": "workshop"},
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
	argv := append(append([]string{"env"}, env...), "sh", "-c", script)
	status, err := w.client.Exec(ctx, w.id, argv, stdin, out, out)
	out.flush()
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d%s", status, tail.indented())
	}
	return err
}

// capture runs a shell script and copies what it prints to out.
func (w *workshop) capture(ctx context.Context, script string, out io.Writer) error {
	var tail tailLines
	errOut := &lineWriter{line: tail.add}
	status, err := w.client.Exec(ctx, w.id, []string{"sh", "-c", script}, nil, out, errOut)
	errOut.flush()
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d%s", status, tail.indented())
	}
	return err
}

// copyIn unpacks an archive (tar) at a folder of the workshop.
func (w *workshop) copyIn(ctx context.Context, folder string, archive io.Reader) error {
	return w.client.CopyIn(ctx, w.id, folder, archive)
}

// commit names the result. The workshop's own settings are taken back.
func (w *workshop) commit(ctx context.Context, ref string, changes ...string) error {
	var unset []string
	for _, e := range proxyEnv() {
		name, _, _ := strings.Cut(e, "=")
		unset = append(unset, "ENV "+name+"=")
	}
	return w.client.Commit(ctx, w.id, ref, append(unset, changes...))
}
